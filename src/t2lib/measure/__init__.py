"""Train models, score them, and collect the results.

This package answers how well models of given N and D do on tasks. It alone imports torch, uses
``data`` to store what it measures, and never imports laws or what is built on them.
"""
