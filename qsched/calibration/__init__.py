"""Calibration: the coefficients of a quantized model, found with few model evaluations and checked honestly.

qsched calibrate -> command.py -> calibrate.py -> search.py <-> evaluate.py <-> trajectory.py
                                           -> compare.py, record.py, report.py
"""
