"""How many connections are let in, of strangers and of a proxy on this machine."""

from metseg.serve.connections import Connections, room_for_connections


def test_of_one_address_and_in_all():
    room = Connections(5, of_one=2)
    assert [room.enter("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert [room.enter("10.0.0.2") for _ in range(3)] == [True, True, False]
    assert [room.enter("10.0.0.3") for _ in range(2)] == [True, False]
    room.leave("10.0.0.1")
    assert not room.enter("10.0.0.2") and room.enter("10.0.0.1")


def test_this_machine_may_be_a_proxy():
    room = Connections(5, of_one=2)
    assert [room.enter("127.0.0.1") for _ in range(6)] == [True] * 5 + [False]


def test_there_is_room_for_some():
    assert 16 <= room_for_connections() <= 1000
