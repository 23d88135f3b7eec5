"""The stores for SQLAlchemy rows, and the mixins that give a model its columns."""
