import pytest
from websockets.frames import Opcode

from streamqa.server.subscriber import frame


@pytest.fixture(autouse=True)
def wire() -> None:
    """What is framed here is made up."""


def test_a_frame_is_a_whole_unmasked_text_message() -> None:
    data = frame("é" * 100)
    assert data[0] == 0x80 | Opcode.TEXT
    assert data[1:4] == bytes([126, 0, 200])
    assert data[4:].decode() == "é" * 100
