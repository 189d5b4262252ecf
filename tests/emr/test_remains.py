"""What is said when a command ends early."""

from fruits_pipeline.emr.remains import Remains, Thing


def thing(name, state):
    return Thing(name, "1 EUR an hour", f"kedro emr terminate --name={name}", state)


def fail():
    raise ConnectionError


def interrupt():
    raise KeyboardInterrupt


def test_what_exists_is_named_with_cost_and_the_command_that_ends_it():
    remains = Remains()
    remains.add(thing("a", lambda: "CREATE_IN_PROGRESS"))
    assert remains.lines() == [
        "What exists now:",
        "  a: CREATE_IN_PROGRESS",
        "    costs 1 EUR an hour",
        "    end it: kedro emr terminate --name=a",
    ]


def test_what_is_gone_is_not_named():
    remains = Remains()
    remains.add(thing("a", lambda: None))
    remains.add(thing("b", lambda: "RUNNING"))
    assert "  b: RUNNING" in remains.lines()
    assert not [line for line in remains.lines() if "  a:" in line]
    remains.forget("b")
    assert remains.lines() == ["Nothing of this command is left at AWS that costs money."]


def test_if_aws_cannot_be_asked_the_worst_is_assumed():
    for state in (fail, interrupt):
        remains = Remains()
        remains.add(thing("a", state))
        assert "assume that it runs" in "\n".join(remains.lines())
        assert "kedro emr terminate --name=a" in "\n".join(remains.lines())


def test_a_thing_is_named_once_in_its_latest_state():
    remains = Remains()
    remains.add(thing("a", lambda: "OLD"))
    remains.add(thing("a", lambda: "NEW"))
    assert remains.lines()[1] == "  a: NEW"
    assert len(remains.things) == 1
