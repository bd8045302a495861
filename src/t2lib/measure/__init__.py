"""Makes numbers out of models: corpora, tasks, training, scoring, collection."""
