"""The stores for Django rows, and the abstract models that give a model its columns."""
