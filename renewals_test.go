package mongostore_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Documents that were edited by hand into what stands in the collection while a plain id is renewed.

// bystander is a session that no edit is about, and that nothing may end.
const bystander = "bystander"

// pending is a successor that has not been activated.
func pending(p *place, id string, more ...bson.E) bson.D {
	now := p.clock.Now()
	doc := bson.D{
		{Key: "_id", Value: id},
		{Key: "name", Value: name},
		{Key: "session", Value: `{"user":"ada","secret":"s"}`},
		{Key: "expires", Value: nil},
		{Key: "createdAt", Value: now},
		{Key: "updatedAt", Value: now},
		{Key: "version", Value: int64(7)},
		{Key: "user", Value: "ada"},
		{Key: "forget", Value: now.Add(5 * time.Minute)},
	}
	return with(doc, more...)
}

// tombstone is a record that was renewed a minute ago.
func tombstone(p *place, id string, more ...bson.E) bson.D {
	now := p.clock.Now()
	doc := bson.D{
		{Key: "_id", Value: id},
		{Key: "token", Value: []byte{}},
		{Key: "name", Value: name},
		{Key: "session", Value: nil},
		{Key: "expires", Value: nil},
		{Key: "createdAt", Value: now.Add(-time.Hour)},
		{Key: "updatedAt", Value: now.Add(-time.Minute)},
		{Key: "version", Value: int64(5)},
		{Key: "forget", Value: now.Add(4 * time.Minute)},
	}
	return with(doc, more...)
}

// with returns a document with other fields, in place of those that it has.
func with(doc bson.D, fields ...bson.E) bson.D {
	for _, field := range fields {
		doc = slices.DeleteFunc(doc, func(e bson.E) bool { return e.Key == field.Key })
		doc = append(doc, field)
	}
	return doc
}

func field(key string, value any) bson.E { return bson.E{Key: key, Value: value} }

// halfways are collections that a renewal never leaves. The first document is the one whose id the cookie carries.
var halfways = map[string]func(p *place) []bson.D{
	"pending without a predecessor": func(p *place) []bson.D {
		return []bson.D{pending(p, "a", field("replaces", "nobody"))}
	},
	"pending without replaces": func(p *place) []bson.D { return []bson.D{pending(p, "a")} },
	"pending that replaces itself": func(p *place) []bson.D {
		return []bson.D{pending(p, "a", field("replaces", "a"))}
	},
	"pending that replaces a pending one": func(p *place) []bson.D {
		return []bson.D{pending(p, "a", field("replaces", "b")), pending(p, "b", field("replaces", "a"))}
	},
	"pending that replaces a live one": func(p *place) []bson.D {
		return []bson.D{pending(p, "a", field("replaces", bystander))}
	},
	"pending whose predecessor names another": func(p *place) []bson.D {
		return []bson.D{pending(p, "a", field("replaces", "b")), tombstone(p, "b", field("next", "c"), field("by", int64(7)))}
	},
	"pending of another version than its predecessor names": func(p *place) []bson.D {
		return []bson.D{pending(p, "a", field("replaces", "b")), tombstone(p, "b", field("next", "a"), field("by", int64(8)))}
	},
	"pending whose predecessor has no by": func(p *place) []bson.D {
		return []bson.D{pending(p, "a", field("replaces", "b")), tombstone(p, "b", field("next", "a"))}
	},
	"pending that was to be forgotten": func(p *place) []bson.D {
		return []bson.D{
			pending(p, "a", field("replaces", "b"), field("forget", p.clock.Now().Add(-time.Second))),
			tombstone(p, "b", field("next", "a"), field("by", int64(7))),
		}
	},
	"pending of no version": func(p *place) []bson.D {
		return []bson.D{
			pending(p, "a", field("replaces", "b"), field("version", nil)),
			tombstone(p, "b", field("next", "a"), field("by", int64(0))),
		}
	},
	"pending that replaces a number": func(p *place) []bson.D { return []bson.D{pending(p, "a", field("replaces", 7))} },
	"tombstone without a successor":  func(p *place) []bson.D { return []bson.D{tombstone(p, "a")} },
	"tombstone whose successor is gone": func(p *place) []bson.D {
		return []bson.D{tombstone(p, "a", field("next", "nobody"), field("by", int64(7)))}
	},
	"tombstone that names itself": func(p *place) []bson.D {
		return []bson.D{tombstone(p, "a", field("next", "a"), field("by", int64(7)))}
	},
	"two tombstones in a circle": func(p *place) []bson.D {
		return []bson.D{tombstone(p, "a", field("next", "b")), tombstone(p, "b", field("next", "a"))}
	},
	"three tombstones in a circle": func(p *place) []bson.D {
		return []bson.D{
			tombstone(p, "a", field("next", "b")), tombstone(p, "b", field("next", "c")), tombstone(p, "c", field("next", "b")),
		}
	},
	"tombstone that names a number":  func(p *place) []bson.D { return []bson.D{tombstone(p, "a", field("next", 7))} },
	"tombstone that names an array":  func(p *place) []bson.D { return []bson.D{tombstone(p, "a", field("next", bson.A{"a"}))} },
	"tombstone that names the empty": func(p *place) []bson.D { return []bson.D{tombstone(p, "a", field("next", ""))} },
	"tombstone with a text as forget": func(p *place) []bson.D {
		return []bson.D{tombstone(p, "a", field("next", "nobody"), field("forget", "soon"))}
	},
	"tombstone with a text as by": func(p *place) []bson.D {
		return []bson.D{tombstone(p, "a", field("next", "b"), field("by", "x")), pending(p, "b", field("replaces", "a"))}
	},
	"tombstone with a deadline": func(p *place) []bson.D { // connect-mongo's touch
		return []bson.D{tombstone(p, "a", field("next", "nobody"), field("expires", p.clock.Now().Add(time.Hour)))}
	},
	"tombstone with a deadline and values": func(p *place) []bson.D { // connect-mongo's set
		return []bson.D{tombstone(p, "a", field("next", "nobody"), field("expires", p.clock.Now().Add(time.Hour)), field("session", `{"user":"ada"}`))}
	},
	"tombstone with a null token": func(p *place) []bson.D {
		return []bson.D{tombstone(p, "a", field("token", nil), field("next", "b"), field("expires", p.clock.Now().Add(time.Hour)))}
	},
	"tombstone of no time": func(p *place) []bson.D {
		return []bson.D{tombstone(p, "a", field("next", "b"), field("updatedAt", "yesterday"), field("createdAt", nil))}
	},
}

// halfway puts the documents of a row into a collection, beside a session that they are not about.
func halfway(t *testing.T, documents func(p *place) []bson.D) (*place, *mongostore.Store, *mongotest.Commands) {
	t.Helper()
	p, sent := watched(t, mongotest.Standalone(t))
	cfg := connectMongoLike()
	cfg.AutoRemove = mongostore.AutoRemoveDisabled // a TTL monitor would be first
	store := p.store(cfg)
	express(t, p.coll, bystander, `{"user":"bob"}`, p.clock.Now().Add(time.Hour))
	for _, document := range documents(p) {
		if _, err := p.coll.InsertOne(t.Context(), document); err != nil {
			t.Fatal(err)
		}
	}
	sent.Take()
	return p, store, sent
}

// eachHalfway runs a test for every row.
func eachHalfway(t *testing.T, test func(t *testing.T, p *place, store *mongostore.Store, sent *mongotest.Commands)) {
	t.Helper()
	for what, documents := range halfways {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p, store, sent := halfway(t, documents)
			test(t, p, store, sent)
			sending(signed(t, store, bystander)).wantValues(t, store, map[any]any{"user": "bob"})
		})
	}
}

func TestR01AHalfwayRenewalLetsNobodyIn(t *testing.T) {
	t.Parallel()
	eachHalfway(t, func(t *testing.T, p *place, store *mongostore.Store, _ *mongotest.Commands) {
		before := rawDocuments(t, p.coll)
		for _, id := range []string{"a", "b", "c"} {
			v := sending(signed(t, store, id)).load(t, store)
			if !errors.Is(v.err, mongostore.ErrDecode) { // of a field that a record must not have
				wantErr(t, v.err, nil)
			}
			wantStandIn(t, v, v.err)
			v.saved(t)
		}
		after := rawDocuments(t, p.coll)
		for id, document := range before {
			if after[id] != document && !strings.Contains(document, `"version": null`) {
				t.Errorf("%s became %s", document, after[id])
			}
		}
	})
}

func TestR18ATombstoneThatExpressTouchedIsNotCounted(t *testing.T) {
	t.Parallel()
	_, store, _ := halfway(t, func(p *place) []bson.D {
		return []bson.D{tombstone(p, "a", field("next", "b"), field("by", int64(7)), field("expires", p.clock.Now().Add(time.Hour)))}
	})
	n, err := store.Count(t.Context())
	wantErr(t, err, nil)
	if n != 1 {
		t.Errorf("%d sessions are counted, want the bystander's alone", n)
	}
	for rec, err := range store.All(t.Context()) {
		wantErr(t, err, nil)
		if rec.ID != bystander {
			t.Errorf("%s is listed", rec.ID)
		}
	}
}

func TestR02AHalfwayRenewalIsNeverAdopted(t *testing.T) {
	t.Parallel()
	eachHalfway(t, func(t *testing.T, _ *place, store *mongostore.Store, _ *mongotest.Commands) {
		v := sending(signed(t, store, "a")).load(t, store)
		v.Values["n"] = 1.5
		v.saved(t)
		v.arrive()
		if v.ID == "a" || v.ID == "" {
			t.Errorf("the new session has the id %q", v.ID)
		}
		v.browser.wantValues(t, store, map[any]any{"n": 1.5})
	})
}

func TestR05ALogoutOfAHalfwayRenewalEnds(t *testing.T) {
	t.Parallel()
	eachHalfway(t, func(t *testing.T, _ *place, store *mongostore.Store, sent *mongotest.Commands) {
		v := sending(signed(t, store, "a")).load(t, store)
		v.Options.MaxAge = -1
		sent.Take()
		if err := v.save(); err != nil {
			wantOnly(t, "logout", err, mongostore.ErrUnavailable)
		}
		v.wantExpired(t)
		if n := len(sent.Take()); n > 250 {
			t.Errorf("it took %d commands", n)
		}
	})
}

func TestR10DestroyOfAHalfwayRenewalEnds(t *testing.T) {
	t.Parallel()
	eachHalfway(t, func(t *testing.T, _ *place, store *mongostore.Store, sent *mongotest.Commands) {
		sent.Take()
		if err := store.Destroy(t.Context(), "a"); err != nil {
			wantOnly(t, "Destroy", err, mongostore.ErrUnavailable)
		}
		if n := len(sent.Take()); n > 250 {
			t.Errorf("it took %d commands", n)
		}
		_, err := store.Find(t.Context(), "a")
		wantErr(t, err, mongostore.ErrNotFound)
		wantErr(t, store.Touch(t.Context(), "a"), mongostore.ErrNotFound)
		err = store.Update(t.Context(), "a", func(map[any]any) error { t.Error("it is changed"); return nil })
		wantErr(t, err, mongostore.ErrNotFound)
	})
}

// A session that is edited into a tombstone while a request has it in hand has ended, or was renewed.
func TestR10ASaveOfASessionThatBecomesHalfwayEnds(t *testing.T) {
	t.Parallel()
	for what, edits := range map[string][]bson.D{
		"tombstone without a successor": {set("token", []byte{}), unset("expires")},
		"tombstone that names itself":   {set("token", []byte{}), set("next", "id"), set("by", int64(7))},
		"tombstone of its own version":  {set("token", []byte{}), set("next", "id"), set("by", int64(0))},
		"pending that replaces itself":  {set("expires", nil), set("replaces", "id"), set("forget", time.Now())},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Standalone(t))
			cfg := connectMongoLike()
			cfg.AutoRemove = mongostore.AutoRemoveDisabled
			store := p.store(cfg)
			b := start(t, store, map[any]any{"n": 1.5})
			changed, unchanged, renewed := b.load(t, store), b.load(t, store), b.load(t, store)
			for _, update := range edits {
				edit(t, p.coll, changed.ID, update)
			}
			p.clock.Advance(time.Minute)
			changed.Values["n"] = 2.5
			store.Regenerate(renewed.Session)
			wantErr(t, changed.save(), mongostore.ErrNotFound)
			wantErr(t, renewed.save(), mongostore.ErrNotFound)
			unchanged.saved(t)
			for _, v := range []*visit{changed, unchanged, renewed} {
				v.wantNoCookie(t)
			}
			b.wantGone(t, store)
		})
	}
}

// wrongTypes are fields of a live record in a type that they must not have.
var wrongTypes = map[string][]any{
	"forget":   {"soon", 7, bson.A{}, nil},
	"next":     {7, nil, bson.D{}, []byte("x")},
	"by":       {"x", 1.5, nil},
	"replaces": {7, nil, bson.A{"a"}},
	"versions": {"x", int64(1), bson.D{{Key: "0", Value: int64(1)}}, bson.A{"x"}, bson.A{int64(1), 1.5}, nil},
	"cookie": {
		"x",
		bson.A{},
		nil,
		bson.D{{Key: "path", Value: 7}},
		bson.D{{Key: "secure", Value: "yes"}},
		bson.D{{Key: "sameSite", Value: "most"}},
		bson.D{{Key: "sameSite", Value: true}},
		bson.D{{Key: "partitioned", Value: bson.A{}}},
	},
}

func TestR01AFieldOfARenewalInAWrongTypeIsDamage(t *testing.T) {
	t.Parallel()
	for kind, cfg := range map[string]*mongostore.Config{"split": {}, "plain": {PlainIDs: true}} {
		for key, values := range wrongTypes {
			t.Run(kind+" "+key, func(t *testing.T) {
				t.Parallel()
				p := onMongoDB(t, mongotest.Standalone(t))
				store := p.store(cfg)
				for _, value := range values {
					b := start(t, store, map[any]any{"n": 1})
					id := b.load(t, store).ID
					held := b.load(t, store)
					edit(t, p.coll, id, set(key, value))
					before := p.mustDocument(id)
					v := b.load(t, store)
					wantStandIn(t, v, mongostore.ErrDecode)
					v.saved(t)
					p.wantDocument(id, before)
					held.Values["n"] = 2
					if err := held.save(); err != nil {
						wantOnly(t, fmt.Sprint(key, " is ", value), err, mongostore.ErrDecode)
					}
					v = b.load(t, store)
					v.Options.MaxAge = -1
					v.saved(t)
					if _, ok := p.document(id); ok {
						t.Errorf("%s is %v: a logout leaves it", key, value)
					}
				}
			})
		}
	}
}

func TestR04AttributesThatWereEditedMakeNoOtherHeader(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Standalone(t))
	store := p.store(nil)
	for _, text := range []string{"/a; Domain=evil.example", "/a\r\nSet-Cookie: x=y", "/a\x00b", "/ä", "a b"} {
		for _, key := range []string{"path", "domain"} {
			b := start(t, store, map[any]any{"n": 1})
			id := b.load(t, store).ID
			edit(t, p.coll, id, set("cookie", bson.D{{Key: key, Value: text}}))
			v := b.load(t, store)
			wantErr(t, v.err, nil)
			v.Values["n"] = 2
			if v.save() != nil {
				continue
			}
			lines := v.w.Header()["Set-Cookie"]
			if len(lines) != 1 || strings.ContainsAny(lines[0], "\r\n\x00") {
				t.Fatalf("the headers are %q", lines)
			}
			if c, err := http.ParseSetCookie(lines[0]); err != nil || c.Domain == "evil.example" {
				t.Errorf("%q: the cookie is %v, %v", text, c, err)
			}
		}
	}
}

// connect-mongo's touch filters by _id alone, so it moves the deadline of a tombstone too.
func TestR12ATombstoneThatExpressTouchesIsNotASession(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Standalone(t))
	store := p.store(connectMongoLike())
	b := start(t, store, map[any]any{"user": "ada"})
	login := b.load(t, store)
	old := login.ID
	store.Regenerate(login.Session)
	login.saved(t)
	thief := sending(b.cookies[0].Value)
	login.arrive()
	edit(t, p.coll, old, set("expires", p.clock.Now().Add(time.Hour)))
	thief.wantGone(t, store)
	if got := ids(collect(t, store.All(t.Context()))); len(got) != 1 || got[0] != login.ID {
		t.Errorf("All yields %q, want %q", got, login.ID)
	}
	if got := ids(collect(t, store.ByUser(t.Context(), "ada"))); len(got) != 1 {
		t.Errorf("ByUser yields %q", got)
	}
	_, err := store.Find(t.Context(), old)
	wantErr(t, err, mongostore.ErrNotFound)
	wantErr(t, store.Touch(t.Context(), old), mongostore.ErrNotFound)
	wantErr(t, store.Destroy(t.Context(), old), nil) // and what it became
	b.wantGone(t, store)
}
