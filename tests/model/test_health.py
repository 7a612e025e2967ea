import threading

from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.model.health import Health
from streamqa.records import Fault


def test_a_death_is_told_once_for_each_reason_until_it_is_back() -> None:
    metrics, faults = Metrics(), list[Fault]()
    health = Health(metrics)
    health.attach(faults.append)
    health.died("tiny", "was killed")
    health.restarting("tiny", 1)
    health.died("tiny", "was killed")
    health.restarting("tiny", 2)
    assert [fault.message for fault in faults] == ["the model's process tiny was killed; it is started again"]
    assert health.trouble() == ["the model's process tiny was killed; being started again, attempt 2"]
    health.died("tiny", "hung")
    health.died("other", "was killed")
    assert len(faults) == 3
    health.back("tiny")
    assert health.trouble() == ["the model's process other was killed; it is started again"]
    health.died("tiny", "hung")
    assert len(faults) == 4
    assert metrics.registry.get_sample_value("streamqa_model_restarts_total") == 1


def test_faults_wait_for_somebody_to_tell() -> None:
    health, faults = Health(), list[Fault]()
    for number in range(100):
        health.died("tiny", f"died {number}")
    health.attach(faults.append)
    assert [fault.message.split()[5] for fault in faults] == [f"{n};" for n in range(36, 100)]  # the newest
    health.attach(faults.append)
    assert len(faults) == 64


def test_a_line_that_stops_lets_everybody_go_and_a_new_one_begins_anew() -> None:
    health = Health()
    woken = threading.Event()

    def wait() -> None:
        with health.changed:
            health.changed.wait_for(lambda: health.stopping, 20)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    health.detach()
    thread.join(20)
    assert woken.is_set()
    health.attach(lambda fault: None)
    assert not health.stopping


def test_a_log_that_has_failed_does_not_stop_the_restart() -> None:
    def broken(fault: Fault) -> None:
        raise StreamQAError("the log is closing")

    health = Health()
    health.attach(broken)
    health.died("tiny", "was killed")
    assert health.trouble()
