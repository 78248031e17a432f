"""What a structured report says, by highdicom's own reader."""

import highdicom as hd


def group_of(path):
    """The one measurement group of a file."""
    report = hd.sr.srread(path)
    assert report.content[0].ContentTemplateSequence[0].TemplateIdentifier == "1500"
    (group,) = report.content.get_image_measurement_groups()
    return group


def numbers_of(path):
    """Meaning of each measurement's name to its value."""
    return {found.name.meaning: found.value for found in group_of(path).get_measurements()}


def codes_of(path):
    """Meaning of each evaluation's name to its coded value."""
    return {found.name.meaning: found.value for found in group_of(path).get_qualitative_evaluations()}


def texts_of(path):
    """Meaning of each text's name to its values, anywhere in the tree."""
    found = {}
    for item in hd.sr.utils.find_content_items(hd.sr.srread(path), value_type="TEXT", recursive=True):
        found.setdefault(item.ConceptNameCodeSequence[0].CodeMeaning, []).append(item.TextValue)
    return found
