package attack

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// sealed returns a configuration with a Sealer, unsealed one without.
func sealed() *mongostore.Config {
	return &mongostore.Config{Sealer: mongostore.AESGCM(sealingKey), MaxLifetime: 24 * time.Hour}
}

func unsealed() *mongostore.Config { return &mongostore.Config{MaxLifetime: 24 * time.Hour} }

// hostile are values of each type of BSON, and the extremes of some.
var hostile = []any{
	nil, true, int32(-1), int64(math.MinInt64), int64(math.MaxInt64), 1.5, math.NaN(), math.Inf(1), "", "alice", "\x00", "$where",
	[]byte{},
	make([]byte, 31), make([]byte, 32), make([]byte, 33),
	bson.Binary{Subtype: 0x80},
	bson.Binary{Subtype: 0x80, Data: make([]byte, 64)},
	bson.Binary{Subtype: 4, Data: make([]byte, 16)},
	bson.A{},
	bson.A{"alice"},
	bson.D{},
	bson.D{{Key: "$gt", Value: ""}},
	bson.D{{Key: "user", Value: "alice"}},
	bson.NewObjectID(), bson.DateTime(math.MinInt64), bson.DateTime(math.MaxInt64),
	bson.Timestamp{T: math.MaxUint32},
	bson.Regex{Pattern: ".*"},
	bson.JavaScript("while(1);"), bson.Symbol("alice"),
	bson.CodeWithScope{Code: "1", Scope: bson.D{}},
	bson.DBPointer{DB: "a"},
	bson.NewDecimal128(math.MaxUint64, math.MaxUint64),
	bson.MinKey{},
	bson.MaxKey{},
	bson.Undefined{},
	missing{},
}

// missing stands for a field that is taken out.
type missing struct{}

// TestEditedDocuments replaces each field of a record by each value. Nobody else
// is let in with it, nothing panics, and the visitor can log in again.
func TestEditedDocuments(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]func() *mongostore.Config{"without a Sealer": unsealed, "with a Sealer": sealed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := attacked(t, "edited documents "+name, "1 attacker who writes to the collection", cfg())
			alice, bob := at.login("alice"), at.login("bob")
			his := at.document(bob.handle())
			stays := "sid=" + alice.cookie("sid")
			refused := 0
			for _, field := range slices.Sorted(maps.Keys(his)) {
				for _, value := range hostile {
					edited := maps.Clone(his)
					if edited[field] = value; value == (missing{}) {
						delete(edited, field)
					}
					refused += at.edit(bob, edited, field, value, cfg().Sealer != nil)
				}
			}
			if a := at.who(stays); a.User != "alice" {
				at.Violation("alice, whose record nobody touched, is %+v", a)
			}
			if a := bob.ask("/login", "user", "bob"); a.User != "bob" || a.Error != "" && a.Error != "decode" && a.Error != "not found" {
				at.Violation("bob cannot log in again: %+v", a)
			}
			at.Note("%d documents, %d of which MongoDB refused to store", len(his)*len(hostile), refused)
		})
	}
}

// edit stores an edited record and tries who its visitor is to the site, and
// that the administration does not stumble over it. It returns 1 if MongoDB did
// not take the record.
func (at *target) edit(v *visitor, edited bson.M, field string, value any, isSealed bool) int {
	at.t.Helper()
	at.Fault("document edited")
	what := fmt.Sprintf("%s = %T(%v)", field, value, value)
	ctx := at.t.Context()
	if _, err := at.coll.DeleteOne(ctx, bson.D{{Key: "_id", Value: v.handle()}}); err != nil {
		at.t.Fatal(err)
	}
	if _, err := at.coll.InsertOne(ctx, edited); err != nil {
		return 1
	}
	defer func() {
		if _, err := at.coll.DeleteOne(ctx, bson.D{{Key: "_id", Value: edited["_id"]}}); err != nil {
			at.t.Fatal(err)
		}
	}()
	cookie := "sid=" + v.cookie("sid")
	a := at.who(cookie)
	if a.Status != 200 || a.User != "" && a.User != v.user && (isSealed || field != "session") {
		at.Violation("%s: the visitor is %+v", what, a)
	}
	if a.Error != "" && a.Error != "decode" {
		at.Violation("%s: the error is %q", what, a.Error)
	}
	if again := at.raw("/login?user="+v.user, cookie); again.User != v.user || again.ID == "" || again.Error != "" && again.Error != "decode" {
		at.Violation("%s: logging in again gives %+v", what, again)
	}
	at.administer(what)
	if _, err := at.coll.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$ne", Value: edited["_id"]}}}, {Key: "user", Value: v.user}}); err != nil {
		at.t.Fatal(err) // of the login
	}
	return 0
}

// administer calls what an administrator calls, over all that is stored.
func (at *target) administer(what string) {
	at.t.Helper()
	ctx, alice := at.t.Context(), 0
	for rec, err := range at.store.All(ctx) {
		if err != nil {
			at.Violation("%s: All: %v", what, err)
			return
		}
		values, err := rec.Values(ctx)
		if err == nil && values["user"] == "alice" && rec.UserID == "alice" {
			alice++
		}
	}
	if alice != 1 {
		at.Violation("%s: alice's session is listed %d times", what, alice)
	}
	if _, err := at.store.Count(ctx); err != nil {
		at.Violation("%s: Count: %v", what, err)
	}
	if n, err := at.store.RemoveExpired(ctx); err != nil || n > 1 {
		at.Violation("%s: RemoveExpired removed %d: %v", what, n, err)
	}
}

// TestSwappedFields copies every set of fields of alice's record into bob's.
// Without a Sealer the values go with the payload; with one they never do.
func TestSwappedFields(t *testing.T) {
	t.Parallel()
	fields := []string{"session", "user", "createdAt", "token", "version", "name", "maxAge"}
	for name, cfg := range map[string]func() *mongostore.Config{"without a Sealer": unsealed, "with a Sealer": sealed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := attacked(t, "swapped fields "+name, "1 attacker who writes to the collection, and is bob", cfg())
			alice := at.login("alice", "maxAge", "3600")
			bob := at.login("bob")
			hers, his := at.document(alice.handle()), at.document(bob.handle())
			for hers["createdAt"] == his["createdAt"] {
				bob.ask("/login", "user", "bob")
				his = at.document(bob.handle())
			}
			cookie := "sid=" + bob.cookie("sid")
			for set := range 1 << len(fields) {
				swapped := maps.Clone(his)
				taken := make(map[string]bool)
				for i, field := range fields {
					if taken[field] = set>>i&1 == 1; taken[field] && hers[field] != nil {
						swapped[field] = hers[field]
					}
				}
				at.put(swapped)
				at.Fault("fields swapped")
				want := "bob"
				switch bound := taken["session"] || taken["user"] || taken["createdAt"]; {
				case taken["token"], cfg().Sealer != nil && bound:
					want = ""
				case cfg().Sealer == nil && taken["session"]:
					want = "alice"
				}
				if a := at.who(cookie); a.User != want {
					at.Violation("with %v of alice's record bob's cookie is %+v, want %q", taken, a, want)
				}
			}
			if a := alice.ask("/who"); a.User != "alice" {
				at.Violation("alice is %+v", a)
			}
			at.move(alice, bob, hers, cfg().Sealer != nil)
		})
	}
}

// move puts alice's whole record under bob's id, with bob's token.
func (at *target) move(alice, bob *visitor, hers bson.M, isSealed bool) {
	at.t.Helper()
	if his := bob.ask("/login", "user", "bob"); his.User != "bob" {
		at.t.Fatalf("bob logs in again: %+v", his)
	}
	moved := maps.Clone(hers)
	moved["_id"], moved["token"] = bob.handle(), at.document(bob.handle())["token"]
	at.put(moved)
	want := map[bool]string{true: "", false: "alice"}[isSealed]
	if a := at.who("sid=" + bob.cookie("sid")); a.User != want {
		at.Violation("alice's whole record under bob's id and token: %+v, want %q", a, want)
	}
	if a := at.who("sid=" + alice.cookie("sid")); a.User != "alice" {
		at.Violation("alice is %+v", a)
	}
}

// TestWritesUnderASealer does what SECURITY.md grants to who can write to the
// collection, and what it says of MaxLifetime: older documents of the same
// session come back, but not beyond its absolute end.
func TestWritesUnderASealer(t *testing.T) {
	t.Parallel()
	at := attacked(t, "writes under a Sealer", "1 attacker with a backup of the collection", sealed())
	v := at.login("alice")
	v.ask("/note", "note", "administrator")
	cookie, backup := "sid="+v.cookie("sid"), at.document(v.handle())

	v.ask("/note", "note", "withdrawn")
	at.put(backup)
	if a := at.who(cookie); a.Note != "administrator" {
		at.Violation("an older document of the same session is %+v: SECURITY.md says that it counts", a)
	}
	v.ask("/logout")
	at.nobody("after the logout", cookie)
	at.put(backup)
	if a := at.who(cookie); a.User != "alice" {
		at.Violation("a document put back after the logout is %+v: SECURITY.md says that it counts", a)
	}
	for field, value := range map[string]any{
		"labels": bson.D{{Key: "agent", Value: "another"}}, "expires": time.Now().Add(48 * time.Hour), "maxAge": 77,
	} {
		edited := maps.Clone(backup)
		edited[field] = value
		at.put(edited)
		if a := at.who(cookie); a.User != "alice" {
			at.Violation("with %s edited alice is %+v: SECURITY.md says that it is not sealed", field, a)
		}
	}
	for _, shift := range []time.Duration{-48 * time.Hour, -time.Millisecond, time.Millisecond, 48 * time.Hour} {
		edited := maps.Clone(backup)
		born, _ := backup["createdAt"].(bson.DateTime)
		edited["createdAt"] = bson.NewDateTimeFromTime(born.Time().Add(shift))
		edited["expires"] = time.Now().Add(1000 * time.Hour)
		at.put(edited)
		at.nobody(fmt.Sprintf("with the birth moved by %v", shift), cookie)
	}
	flipped := 0
	for i := 0; i < 8*len(payloadOf(backup)); i += inFull(1, 5) {
		edited := maps.Clone(backup)
		payload := slices.Clone(payloadOf(backup))
		payload[i/8] ^= 1 << (i % 8)
		edited["session"] = bson.Binary{Subtype: 0x80, Data: payload}
		at.put(edited)
		at.nobody(fmt.Sprintf("bit %d of the sealed payload flipped", i), cookie)
		flipped++
	}
	at.Note("%d bits of the sealed payload flipped", flipped)
}

func payloadOf(doc bson.M) []byte {
	payload, _ := doc["session"].(bson.Binary)
	return payload.Data
}

// TestWriterWithTheSigningKey puts the hash of a secret of its own into a record,
// which SECURITY.md grants, and a record of its own beside a Sealer, which it does not.
func TestWriterWithTheSigningKey(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]func() *mongostore.Config{"without a Sealer": unsealed, "with a Sealer": sealed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := attacked(t, "a writer with the signing key "+name, "1 attacker", cfg())
			alice, mallory := at.login("alice"), at.login("mallory")
			doc, own := at.document(alice.handle()), at.document(mallory.handle())
			_, secret, _ := strings.Cut(opened(t, "sid", mallory.cookie("sid")), ".")
			for _, key := range []string{"the signing key", "read access too"} { // the dump holds hashes alone
				at.nobody("alice's id and mallory's secret with "+key, "sid="+forged(t, "sid", alice.handle()+"."+secret))
			}
			token, _ := doc["token"].(bson.Binary)
			at.nobody("the hash as a secret", "sid="+forged(t, "sid", alice.handle()+"."+string(token.Data)))
			at.nobody("the hash as text", "sid="+forged(t, "sid", alice.handle()+"."+fmt.Sprintf("%x", token.Data)))

			doc["token"] = own["token"]
			at.put(doc)
			if a := at.who("sid=" + forged(t, "sid", alice.handle()+"."+secret)); a.User != "alice" {
				at.Violation("with a token of their own they are %+v: SECURITY.md says that they are alice", a)
			}
			made := bson.M{
				"_id": "MADE", "token": own["token"], "name": "sid", "user": "admin", "version": int64(1),
				"session": `{"user":"admin"}`, "createdAt": time.Now(), "expires": time.Now().Add(time.Hour),
			}
			at.put(made)
			want := map[bool]string{true: "", false: "admin"}[cfg().Sealer != nil]
			if a := at.who("sid=" + forged(t, "sid", "MADE."+secret)); a.User != want {
				at.Violation("a record of their own making is %+v, want %q", a, want)
			}
		})
	}
}

// TestDroppedIndexes drops all indexes under way: expiry holds, nobody is logged
// out, removal goes on, and EnsureIndexes makes them again.
func TestDroppedIndexes(t *testing.T) {
	t.Parallel()
	at := attacked(t, "dropped indexes", "1 attacker, 1 administrator", nil)
	live, dead := at.login("alice"), at.login("bob")
	names := at.indexes()
	at.Fault("indexes dropped")
	if err := at.coll.Indexes().DropAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	at.age(dead, time.Hour)
	at.nobody("an expired session without a TTL index", "sid="+dead.cookie("sid"))
	if a := live.ask("/note", "note", "still here"); a.User != "alice" || a.Error != "" {
		at.Violation("without indexes alice is %+v", a)
	}
	for _, user := range []string{"alice", "bob"} {
		n := 0
		for _, err := range at.store.ByUser(t.Context(), user) {
			if err != nil {
				at.Violation("ByUser without an index: %v", err)
			}
			n++
		}
		if want := map[string]int{"alice": 1, "bob": 0}[user]; n != want {
			at.Violation("%d sessions of %s without an index, want %d", n, user, want)
		}
	}
	if n, err := at.store.RemoveExpired(t.Context()); n != 1 || err != nil {
		at.Violation("RemoveExpired without an index: %d, %v", n, err)
	}
	if err := at.store.EnsureIndexes(t.Context()); err != nil {
		at.Violation("EnsureIndexes: %v", err)
	}
	if again := at.indexes(); !slices.Equal(again, names) {
		at.Violation("EnsureIndexes made %v, want %v", again, names)
	}
}

func (at *target) indexes() (names []string) {
	at.t.Helper()
	list, err := at.coll.Indexes().ListSpecifications(at.t.Context())
	if err != nil {
		at.t.Fatal(err)
	}
	for _, index := range list {
		names = append(names, index.Name+" "+index.KeysDocument.String())
	}
	slices.Sort(names)
	return names
}
