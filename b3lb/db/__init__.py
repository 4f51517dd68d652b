"""PostgreSQL: schema, migrations, and the statements that both programs share."""
