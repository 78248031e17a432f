"""Lookup tables: cut to the length that their descriptors declare, so that nothing hides behind them."""

from pydicom import Dataset

from pipeline.deidentify.values import components

DESCRIPTORS = {
    "LUTData": "LUTDescriptor",
    "RedPaletteColorLookupTableData": "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableData": "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableData": "BluePaletteColorLookupTableDescriptor",
    "AlphaPaletteColorLookupTableData": "AlphaPaletteColorLookupTableDescriptor",
}
ENTRIES_OF_ZERO = 2**16
WIDE_BITS = 8  # more need two bytes per entry; some tables of fewer take two as well


def cut_tables(dataset: Dataset) -> None:
    """Cut the tables at the top of a cleaned data set; one whose descriptor is missing or damaged is removed.

    Source:
        PS3.3 C.11.1.1.1 and C.7.6.3.1.5: the first number is that of the entries, 0 stands for 65536.
    """
    for keyword, name in DESCRIPTORS.items():
        if keyword not in dataset:
            continue
        descriptor = components(dataset[name]) if name in dataset else []
        if len(descriptor) != 3:
            del dataset[keyword]
            continue
        entries = int(descriptor[0]) & 0xFFFF or ENTRIES_OF_ZERO
        table = dataset[keyword].value
        if not isinstance(table, bytes):
            dataset[keyword].value = components(dataset[keyword])[:entries]
        elif descriptor[2] > WIDE_BITS or len(table) >= 2 * entries:
            dataset[keyword].value = table[: 2 * entries]
        else:
            dataset[keyword].value = table[:entries] + b"\0" * (entries % 2)
