"""Save the pipeline as an MLflow model; without a signature, whose checks would only slow MLflow down."""

import sys

import joblib
import mlflow.sklearn

model_file, folder = sys.argv[1:]
mlflow.sklearn.save_model(joblib.load(model_file), folder, serialization_format="cloudpickle", pip_requirements=[])
