import json, time
import httpx, pytest
from support.kafka import broker
from support.lakes import ids_in, opened
from support.products import SPEC
from support.server import serving
from support.topic_to_lake import TopicToLake
from support.waiting import until
from support.load import PREDICT

pytestmark = [pytest.mark.kafka]

def test_first(home, row):
    with broker() as b:
        topic = b.create_topic("log")
        names = dict(log_stores="kafka", log_read="lake", lake=home/"lake", kafka_brokers=b.address, kafka_topic=topic, product=SPEC)
        with serving(home, access_log="false", **names) as server:
            ids = []
            for _ in range(20):
                answer = httpx.post(f"{server.address}{PREDICT}", json={"features": row}, timeout=30)
                ids.append(answer.json()["prediction_id"])
            until(lambda: len(b.messages(topic)) == 20, "sent")
            print(b.messages(topic)[0])
            consumer = TopicToLake(home, **names)
            t = time.time()
            status = consumer.once()
            print(time.time()-t, consumer.log())
            assert status == 0
            with opened(str(home/"lake"), f"sqlite:///{home/'beacon.db'}") as found:
                assert sorted(ids_in(found)) == sorted(ids)
            t = time.time()
            assert consumer.once() == 0
            print(time.time()-t, consumer.log()[-1500:])
            with opened(str(home/"lake"), f"sqlite:///{home/'beacon.db'}") as found:
                assert sorted(ids_in(found)) == sorted(ids)
