import pytest

from streamqa.server.scopes import LOCAL, Scope, Visitor


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("read", {"read"}), ("ask", {"read", "ask"}), ("admin", {"read", "ask", "admin"})],
)
def test_a_scope_holds_those_before_it(scope: Scope, allowed: set[Scope]) -> None:
    wanted: tuple[Scope, ...] = ("read", "ask", "admin")
    assert {one for one in wanted if Visitor("dash", scope).may(one)} == allowed


def test_whoever_is_on_this_machine_may_do_all() -> None:
    assert LOCAL.may("admin")
