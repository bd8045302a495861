"""Build the book from its chapters, and make the tables that they show.

``parameters`` reads and checks what a notebook may be told, ``runner`` runs one notebook, ``graph``
knows what depends on what, ``planner`` hands the shipped laws to the planner page, ``command`` is
``t2 book``; the other modules make tables of chapters.
"""
