"""From the instrument's file to a row of the table of cells: read, measure, draw, import.

    read(path) -> Series -> half_cycles, cycles -> metrics -> a row

One reader file a format behind `reader.Reader`. Nothing is imported here: polars and fastnda cost 0.2 s.
"""
