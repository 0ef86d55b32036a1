import socket

import pytest

ELSEWHERE = "192.0.2.1"  # an address for documents: nobody has it


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_socket_when_it_connects_elsewhere_then_refused(kind):
    with (
        socket.socket(socket.AF_INET, kind) as ours,
        pytest.raises(RuntimeError, match="must not reach '192.0.2.1'"),
    ):
        ours.connect((ELSEWHERE, 80))


def test_datagram_when_sent_elsewhere_then_refused():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        pytest.raises(RuntimeError, match="socket.sendto"),
    ):
        ours.sendto(b"a", (ELSEWHERE, 80))


@pytest.mark.parametrize("name", ["example.com", b"example.com"])
def test_name_when_looked_up_then_refused(name):
    with pytest.raises(RuntimeError, match=r"must not reach 'example\.com'"):
        socket.getaddrinfo(name, 80)


def test_socket_when_it_connects_to_this_machine_then_works():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_interpreter_when_started_by_a_test_then_is_refused_too(run_python):
    found = run_python(
        """
        import socket
        try:
            socket.create_connection(("example.com", 80))
        except RuntimeError as exc:
            print(exc)
        """
    )
    assert "must not reach 'example.com'" in found
