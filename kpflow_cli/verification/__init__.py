"""Every operator and every exact quantity against dense automatic differentiation, in double
precision.
"""
