"""The database: engine, base class and types, the journal, migrations. Knows no room."""
