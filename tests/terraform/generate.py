"""Writes variables.tf and conditions.tf of deploy/terraform from template.yaml.

    generate.py            write both
    generate.py --check    exit 1 where one differs from the template

A parameter is a variable with the same default, limits and rules. A condition is a local value.
"""

import re
import sys

from cloudformation import ROOT, Translator, is_switch, load, quoted, snake

MODULE = ROOT / "deploy" / "terraform"
HEAD = "# Made by tests/terraform/generate.py from template.yaml. Edit that, then run it.\n"

# Parameters without a meaning in the module, and why.
OMITTED = {
    "Rollout": "CodeDeploy shifts the alias as a part of a CloudFormation update. Terraform sets it to the new version at once.",
    "DeploymentHash": "Terraform publishes a version whenever the artifact or the configuration changes.",
}

OWN = '''
variable "name" {
  description = "Name of the function, and the first part of the other resources' names."
  type        = string
  default     = "contact-sync"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.name))
    error_message = "name is 1 to 32 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "artifact" {
  description = "Path of the function's zip: one of a release, or the one that `make zip` builds. It is for `architecture`."
  type        = string
}
'''


def default(parameter):
    """Returns a parameter's default as a literal."""
    value = parameter["Default"]
    if parameter["Type"] == "CommaDelimitedList":
        return "[" + ", ".join(quoted(item) for item in value.split(",") if item) + "]"
    if is_switch(parameter):
        return value
    return str(value) if parameter["Type"] == "Number" else quoted(value)


def kind(parameter):
    """Returns the type of a parameter's variable."""
    if is_switch(parameter):
        return "bool"
    return {"String": "string", "Number": "number", "CommaDelimitedList": "list(string)"}[parameter["Type"]]


def limits(name, parameter):
    """Yields the condition and the message of each limit of a parameter."""
    variable = f"var.{snake(name)}"
    if "AllowedValues" in parameter and not is_switch(parameter):
        values = [str(v) if parameter["Type"] == "Number" else quoted(v) for v in parameter["AllowedValues"]]
        plain = ", ".join(str(v) for v in parameter["AllowedValues"])
        yield f"contains([{', '.join(values)}], {variable})", f"{snake(name)} is one of {plain}."
    least, most = parameter.get("MinValue"), parameter.get("MaxValue")
    if least is not None and most is not None:
        yield f"{variable} >= {least} && {variable} <= {most}", f"{snake(name)} is {least} to {most}."
    elif least is not None:
        yield f"{variable} >= {least}", f"{snake(name)} is at least {least}."
    if "AllowedPattern" in parameter:
        pattern = quoted(parameter["AllowedPattern"])
        yield f"can(regex({pattern}, {variable}))", f"{snake(name)} {parameter['ConstraintDescription']}."


def rules(template):
    """Returns the condition and the message of each rule, by the variable that checks it: the last of those in the rule, since
    two variables that check each other are a cycle."""
    translator, found = Translator(template), {}
    order = [snake(name) for name in template["Parameters"]]
    for rule in template.get("Rules", {}).values():
        when = rule["RuleCondition"]
        # The rule holds, or the case that it is about is not given.
        unless = when["Fn::Not"][0] if "Fn::Not" in when else {"Fn::Not": [when]}
        for assertion in rule["Assertions"]:
            text = f"{translator.operand(unless)} || {translator.operand(assertion['Assert'])}"
            name = max(re.findall(r"var\.(\w+)", text), key=order.index)
            found.setdefault(name, []).append((text, of_module(template, assertion["AssertDescription"])))
    return found


def of_module(template, text):
    """Returns a text about the template as one about the module."""
    for name in template["Parameters"]:
        text = re.sub(rf"\b{name}\b", snake(name), text)
    return re.sub(r"\b([Tt]he) stack\b", r"\1 module", " ".join(text.split()))


def block(condition, message):
    """Returns a validation."""
    return f"\n  validation {{\n    condition     = {condition}\n    error_message = {quoted(message)}\n  }}\n"


def variables(template):
    """Returns the text of variables.tf."""
    of_rules = rules(template)
    parts = [HEAD, OWN]
    for name, parameter in template["Parameters"].items():
        if name in OMITTED:
            continue
        description = quoted(of_module(template, parameter["Description"]))
        checks = [*limits(name, parameter), *of_rules.get(snake(name), [])]
        parts.append(
            f'\nvariable "{snake(name)}" {{\n  description = {description}\n'
            f"  type        = {kind(parameter)}\n  default     = {default(parameter)}\n"
            f"{''.join(block(*check) for check in checks)}}}\n"
        )
    return "".join(parts)


def conditions(template):
    """Returns the text of conditions.tf."""
    translator = Translator(template)
    pairs = [(snake(name), translator.expression(value)) for name, value in template["Conditions"].items()]
    width = max(len(name) for name, _ in pairs)
    lines = "".join(f"  {name:<{width}} = {text}\n" for name, text in pairs)
    return f"{HEAD}\nlocals {{\n{lines}}}\n"


def files():
    """Returns the text of each file, by its path."""
    template = load()
    return {MODULE / "variables.tf": variables(template), MODULE / "conditions.tf": conditions(template)}


def main(arguments):
    if arguments not in ([], ["--check"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text(encoding="utf-8") != text}
    for path, text in stale.items():
        if arguments:
            print(f"{path.relative_to(ROOT)} is not current: run `make terraform`", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
    return 1 if arguments and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
