// The comparator in Go: net/http, and the same durable work that the bridge does before its 202.
//
// An event is decoded and checked, what waits is committed in one transaction with synchronous=FULL, and only then
// answered; while a commit syncs, the next batch grows. It does nothing else of what the bridge does.
//
//	go-comparator PORT SPOOL.db [CERT.pem KEY.pem]
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	_ "github.com/mattn/go-sqlite3"
)

const (
	maxBody  = 1 << 20
	maxBatch = 4096
)

type event struct {
	McpID    string          `json:"mcp_id"`
	Source   string          `json:"source"`
	Priority *int            `json:"priority"`
	Summary  string          `json:"summary"`
	Details  json.RawMessage `json:"details"`
	Tags     []string        `json:"tags"`
}

type job struct {
	key      string
	severity int
	payload  []byte
	done     chan error
}

func (e event) valid() bool {
	within := func(text string, most int) bool { return len(text) > 0 && len(text) <= most }
	return within(e.McpID, 255) && within(e.Source, 255) && within(e.Summary, 1024) && len(e.Tags) <= 64
}

func (e event) severity() int {
	if e.Priority == nil || *e.Priority < 1 || *e.Priority > 4 {
		return 2
	}
	return *e.Priority
}

func open(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", path+"?_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, key TEXT, severity INTEGER, payload BLOB)")
	return db, err
}

func commit(db *sql.DB, batch []job) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert, err := tx.Prepare("INSERT INTO inbox (key, severity, payload) VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	for _, j := range batch {
		if _, err := insert.Exec(j.key, j.severity, j.payload); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func write(db *sql.DB, jobs <-chan job) {
	for first := range jobs {
		batch := append(make([]job, 0, maxBatch), first)
	gather:
		for len(batch) < maxBatch {
			select {
			case next := <-jobs:
				batch = append(batch, next)
			default:
				break gather
			}
		}
		err := commit(db, batch)
		for _, j := range batch {
			j.done <- err
		}
	}
}

func events(jobs chan<- job) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var e event
		if err != nil || json.Unmarshal(body, &e) != nil || !e.valid() {
			http.Error(w, "not an event", http.StatusUnprocessableEntity)
			return
		}
		j := job{e.McpID, e.severity(), body, make(chan error, 1)}
		jobs <- j
		if err := <-j.done; err != nil {
			http.Error(w, "not kept", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, `{"accepted":1}`)
	}
}

func main() {
	db, err := open(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	jobs := make(chan job, maxBatch)
	go write(db, jobs)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", events(jobs))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {})
	server := &http.Server{Addr: "127.0.0.1:" + os.Args[1], Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if len(os.Args) > 4 {
		err = server.ListenAndServeTLS(os.Args[3], os.Args[4])
	} else {
		err = server.ListenAndServe()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
