-- Version 2: dead letters are listed without reading the lanes that have none.
CREATE INDEX lane_dead ON lane (id) WHERE letters > 0 OR state = 4;
