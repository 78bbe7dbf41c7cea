"""The table of the baselines."""

TABLE = {
    "postgresql": "CREATE TABLE bench_event (id bigserial PRIMARY KEY, webhook_id varchar(255) "
    "NOT NULL UNIQUE, event_type varchar(255) NOT NULL, body bytea NOT NULL, received_at "
    "timestamptz NOT NULL)",
    "mysql": "CREATE TABLE bench_event (id bigint AUTO_INCREMENT PRIMARY KEY, webhook_id "
    "varchar(255) NOT NULL UNIQUE, event_type varchar(255) NOT NULL, body longblob NOT NULL, "
    "received_at datetime(6) NOT NULL)",
    "sqlite": "CREATE TABLE bench_event (id integer PRIMARY KEY, webhook_id varchar(255) "
    "NOT NULL UNIQUE, event_type varchar(255) NOT NULL, body blob NOT NULL, received_at "
    "datetime NOT NULL)",
}
INSERT = (
    "INSERT INTO bench_event (webhook_id, event_type, body, received_at) "
    "VALUES (%s, %s, %s, CURRENT_TIMESTAMP)"
)
