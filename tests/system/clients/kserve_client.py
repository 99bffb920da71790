# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["kserve==0.21.0"]
# ///
"""KServe's own client against a running server, in an environment of its own: its dependencies contradict Beacon's.

uv run --script tests/system/clients/kserve_client.py http://127.0.0.1:8080 boston-housing '[[...]]'
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def main(url: str, model: str, rows: list[list[float]]) -> None:
    """Ask in every way that the client has; print what came back as JSON."""
    found: dict[str, object] = {}
    values = np.array(rows)
    for protocol in ("v1", "v2"):
        client = InferenceRESTClient(RESTConfig(protocol=protocol))
        if protocol == "v1":
            found["v1"] = (await client.infer(url, {"instances": rows}, model_name=model))["predictions"]
            found["v1_ready"] = await client.is_model_ready(url, model)
        else:
            for binary in (False, True):
                tensor = InferInput("features", list(values.shape), "FP64")
                tensor.set_data_from_numpy(values, binary_data=binary)
                request = InferRequest(model_name=model, infer_inputs=[tensor], request_id="mine")
                answer = await client.infer(url, request, model_name=model)
                outputs = {output.name: output for output in answer.outputs}
                found[f"v2_{binary}"] = outputs["prediction"].as_numpy().tolist()
                found[f"v2_{binary}_id"] = answer.id
            found["v2_live"] = await client.is_server_live(url)
            found["v2_ready"] = await client.is_server_ready(url)
            found["v2_model_ready"] = await client.is_model_ready(url, model)
        await client.close()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
