package attack

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// operators are what an attacker types where a name, an id or a user is asked for.
var operators = []string{
	`{"$gt":""}`, `{"$ne":null}`, `{"$regex":".*"}`, `{"$where":"1"}`, `{"$in":["alice"]}`, `[$ne]`, "$where", "$gt", "$user", "$$ROOT", "a.b", "_id", "user.$", ".", "..", "*",
	".*", "alice\x00", "\x00", "alice\x00bob", "ALICE", "alice ", " alice", "аlice", "__proto__", "constructor", "null", "undefined", "true", "0", "'; return true; '", "\xff\xfe",
	string([]byte{5, 0, 0, 0, 0}), strings.Repeat("a", 100_000),
}

// TestOperatorInjection passes operators wherever text of a visitor reaches the
// database. Every record but the one that the call is about stays as it is, byte
// for byte.
func TestOperatorInjection(t *testing.T) {
	t.Parallel()
	at := attacked(t, "operator injection", "1 attacker, 4 visitors", &mongostore.Config{PayloadCodec: mongostore.BSONCodec{}})
	for _, user := range []string{"alice", "bob", "bob", "{}"} {
		at.login(user)
	}
	bystanders := at.documents()
	attacker := at.visitor("mallory")
	for _, text := range operators {
		for _, call := range []string{"Destroy", "Find", "Touch", "Update", "DestroyByUser", "ByUser"} {
			a := attacker.ask("/admin", "call", call, "id", text)
			found := (call == "Find" || call == "Touch" || call == "Update") && a.Error != "not found"
			if found || strings.Contains(a.Error, "another user") {
				at.Violation("%s(%.40q): %+v", call, text, a)
			}
			at.unchanged(bystanders, fmt.Sprintf("%s(%.40q)", call, text))
		}
		for _, carried := range []string{text + ".secret", "handle." + text, text} {
			at.nobody(fmt.Sprintf("a signed cookie that carries %.40q", carried), "sid="+forged(t, "sid", carried))
			at.raw("/logout", "sid="+forged(t, "sid", carried))
		}
		at.raw("/who?cookie="+url.QueryEscape(text), "sid=x")
		at.unchanged(bystanders, fmt.Sprintf("a cookie of %.40q", text))
	}
	for _, doc := range []string{`{"id":{"$gt":""}}`, `id[$gt]=`, `id=1&id=2`, `id[]=alice`} {
		attacker.ask("/admin", "call", "Destroy", "id", doc)
		at.raw("/admin?call=DestroyByUser&"+doc, "a=b")
		at.unchanged(bystanders, doc)
	}
}

// TestHostileUsersAndKeys lets visitors have operators for names, and puts them
// into their sessions as keys and values. Each user is one, and each value comes
// back as it was.
func TestHostileUsersAndKeys(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]mongostore.Codec{"bson": mongostore.BSONCodec{}, "json": mongostore.JSONCodec{}, "gob": mongostore.GobCodec{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := attacked(t, "hostile users and keys, "+name, "a visitor for each name", &mongostore.Config{
				PayloadCodec: codec,
				Labels: func(_ *http.Request, session *sessions.Session) map[string]string {
					return map[string]string{"user": UserOf(session), UserOf(session): "$where"}
				},
			})
			bystander := at.login("alice")
			refused := 0
			for _, text := range slices.Concat(operators, []string{""}) {
				if strings.Contains(text, "\xff") {
					continue // no text: JSON and BSON would change it
				}
				before := at.documents()
				v := at.visitor(text)
				a := v.ask("/login", "user", text)
				if a.User != text || a.Error != "" {
					at.Violation("a login of %.40q: %.200v", text, a)
					continue
				}
				a = v.ask("/note", "key", text, "note", text)
				if takes := name != "bson" || !strings.Contains(text, "\x00"); a.Error != "" && takes {
					at.Violation("Values[%.40q] is refused: %s", text, a.Error)
				} else if a.Error != "" { // as the key, BSON takes no zero byte
					refused++
				} else if text != "" && at.valueOf(v, text) != text {
					at.Violation("Values[%.40q] comes back as %.40q", text, at.valueOf(v, text))
				}
				at.kept(before, fmt.Sprintf("a session of %.40q", text))
				at.oneUser(text)
				at.kept(before, fmt.Sprintf("DestroyByUser(%.40q)", text))
			}
			if a := bystander.ask("/who"); a.User != "alice" {
				at.Violation("alice is %+v", a)
			}
			at.Note("%d keys refused", refused)
		})
	}
}

// valueOf returns what is stored of a visitor's session under a key.
func (at *target) valueOf(v *visitor, key string) string {
	at.t.Helper()
	rec, err := at.store.Find(at.t.Context(), v.handle())
	if err != nil {
		at.Violation("the session of %.40q: %v", v.user, err)
		return ""
	}
	values, err := rec.Values(at.t.Context())
	if err != nil {
		at.Violation("the values of %.40q: %v", v.user, err)
	}
	text, _ := values[key].(string)
	return text
}

// oneUser checks that a user has one session and no one else's, and ends it.
func (at *target) oneUser(user string) {
	at.t.Helper()
	if user == "" {
		return
	}
	var err error
	var listed int64
	for rec, failed := range at.store.ByUser(at.t.Context(), user) {
		if err = failed; rec.UserID == user {
			listed++
		}
	}
	n, failed := at.store.DestroyByUser(at.t.Context(), user)
	if listed != 1 || n != 1 || err != nil || failed != nil {
		at.Violation("%.40q has %d sessions listed, %d ended (%v, %v), want 1", user, listed, n, err, failed)
	}
}

// unchanged checks that the records are those from before.
func (at *target) unchanged(before map[string]string, what string) {
	at.t.Helper()
	if after := at.documents(); !maps.Equal(before, after) {
		at.Violation("%s: %d records, %d before, or one of them was changed", what, len(after), len(before))
	}
}

// kept checks that all records from before are still there as they were.
func (at *target) kept(before map[string]string, what string) {
	at.t.Helper()
	after := at.documents()
	for id, doc := range before {
		if after[id] != doc {
			at.Violation("%s changed the record %s", what, id)
		}
	}
}
