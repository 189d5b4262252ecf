"""What a CloudFormation template would make: its functions, conditions and rules, resolved for given parameters."""

import json
import re
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml

Template = dict[str, Any]

PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::StackName": "the-stack",
}
GONE = object()
"""AWS::NoValue, and what a false condition leaves."""


def load(path: Path) -> Template:
    """A template as plain dictionaries and lists, with !Ref as {"Ref": …} and !Sub as {"Fn::Sub": …}."""
    return json.loads(json.dumps(cfn_yaml.load(str(path))))


def made(template: Template, region: str = "eu-west-3", **parameters: Any) -> Template:
    """The resources and outputs that CloudFormation would make of a template.

    References to resources become their names, their attributes `Name.Attribute`. Parameters without a default and
    without a value become `<Name>`.
    """
    stack = _Stack(template, region, parameters)
    resources = {
        name: {key: stack.resolve(value) for key, value in resource.items()}
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or stack.condition(resource["Condition"])
    }
    outputs = {name: stack.resolve(output["Value"]) for name, output in template.get("Outputs", {}).items()}
    return {"Resources": resources, "Outputs": outputs}


def refused(template: Template, region: str) -> list[str]:
    """What the template's rules say against a region."""
    stack = _Stack(template, region, {})
    assertions = [item for rule in template.get("Rules", {}).values() for item in rule["Assertions"]]
    return [item["AssertDescription"] for item in assertions if not stack.resolve(item["Assert"])]


class _Stack:
    def __init__(self, template: Template, region: str, parameters: dict[str, Any]) -> None:
        self.template = template
        unknown = set(parameters) - set(template["Parameters"])
        assert not unknown, f"the template has no parameters {unknown}"
        declared = {name: item.get("Default", f"<{name}>") for name, item in template["Parameters"].items()}
        self.values = {**PSEUDO, "AWS::Region": region, **declared, **parameters}

    def condition(self, name: str) -> bool:
        return bool(self.resolve(self.template["Conditions"][name]))

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not GONE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            function = getattr(self, "do_" + name.removeprefix("Fn::").lower(), None)
            # A policy has a Condition too; that of a function is a name.
            is_function = (
                name.startswith("Fn::") or name == "Ref" or (name == "Condition" and isinstance(argument, str))
            )
            if function is not None and is_function:
                return function(argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not GONE}

    def do_ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return GONE
        value = self.values.get(name, name)
        is_list = self.template["Parameters"].get(name, {}).get("Type") == "CommaDelimitedList"
        return value.split(",") if is_list else value

    def do_condition(self, name: str) -> bool:
        return self.condition(name)

    def do_getatt(self, argument: Any) -> str:
        return argument if isinstance(argument, str) else ".".join(argument)

    def do_sub(self, argument: Any) -> str:
        text, extra = argument if isinstance(argument, list) else (argument, {})
        extra = self.resolve(extra)
        return re.sub(r"\$\{([^}]+)\}", lambda match: str(extra.get(match[1]) or self.do_ref(match[1])), text)

    def do_if(self, argument: list[Any]) -> Any:
        name, yes, no = argument
        return self.resolve(yes if self.condition(name) else no)

    def do_equals(self, argument: list[Any]) -> bool:
        one, other = self.resolve(argument)
        return str(one) == str(other)

    def do_not(self, argument: list[Any]) -> bool:
        return not self.resolve(argument)[0]

    def do_and(self, argument: list[Any]) -> bool:
        return all(self.resolve(argument))

    def do_contains(self, argument: list[Any]) -> bool:
        values, value = self.resolve(argument)
        return value in values

    def do_select(self, argument: list[Any]) -> Any:
        index, values = self.resolve(argument)
        return values[int(index)]

    def do_split(self, argument: list[Any]) -> list[str]:
        separator, text = self.resolve(argument)
        return text.split(separator)

    def do_join(self, argument: list[Any]) -> str:
        separator, parts = self.resolve(argument)
        return separator.join(parts)

    def do_findinmap(self, argument: list[Any]) -> Any:
        mapping, first, second = self.resolve(argument)
        return self.template["Mappings"][mapping][first][second]

    def do_getazs(self, argument: Any) -> list[str]:
        region = self.resolve(argument) or self.values["AWS::Region"]
        return [f"{region}{zone}" for zone in "abc"]


def change(template: Template, path: str, value: Any = GONE) -> Template:
    """A copy of a template with one thing changed, or removed.

    Args:
        template: Stays as it is.
        path: Keys and positions, with slashes between them; a position of `+` appends to a list.
        value: What to put there; by default the thing is removed.
    """
    copy = json.loads(json.dumps(template))
    *way, last = path.split("/")
    place: Any = copy
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if last == "+":
        place.append(value)
        return copy
    key = int(last) if isinstance(place, list) else last
    if value is GONE:
        del place[key]
    else:
        assert isinstance(place, list) or key not in place or place[key] != value, f"{path} is {value} already"
        place[key] = value
    return copy
