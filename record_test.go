package mongostore_test

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// What a document that was edited by hand is to its visitor.
type verdict int

const (
	gone    verdict = iota // like none, and the cookie proves it: a logout deletes it
	foreign                // like none, and the cookie proves nothing
	damaged                // ErrDecode
	live                   // still the session
)

var anyVerdict = []verdict{gone, foreign, damaged, live}

func unset(field string) bson.D {
	return bson.D{{Key: "$unset", Value: bson.D{{Key: field, Value: ""}}}}
}

// edits are what people do to documents.
var edits = map[string]struct {
	update  bson.D
	verdict verdict
}{
	"no expires":               {unset("expires"), gone},
	"null expires":             {set("expires", nil), gone},
	"text expires":             {set("expires", "2999-01-01T00:00:00Z"), gone},
	"number expires":           {set("expires", int64(math.MaxInt64)), gone},
	"timestamp expires":        {set("expires", bson.Timestamp{T: math.MaxUint32}), gone},
	"list of expires":          {set("expires", bson.A{time.Now().Add(time.Hour)}), gone},
	"document expires":         {set("expires", bson.D{{Key: "date", Value: "2999-01-01T00:00:00Z"}}), gone},
	"expires of long ago":      {set("expires", bson.DateTime(math.MinInt64)), gone},
	"expires in ages":          {set("expires", bson.DateTime(math.MaxInt64/2)), live},
	"no token":                 {unset("token"), foreign},
	"null token":               {set("token", nil), foreign},
	"number token":             {set("token", 7), foreign},
	"text token":               {set("token", strings.Repeat("x", 32)), foreign},
	"empty token":              {set("token", []byte{}), foreign},
	"short token":              {set("token", make([]byte, 31)), foreign},
	"long token":               {set("token", make([]byte, 33)), foreign},
	"zero token":               {set("token", make([]byte, 32)), foreign},
	"list of tokens":           {set("token", bson.A{make([]byte, 32)}), foreign},
	"another name":             {set("name", "another"), gone},
	"no name":                  {unset("name"), live},
	"null name":                {set("name", nil), damaged},
	"number name":              {set("name", 7), damaged},
	"no session":               {unset("session"), damaged},
	"null session":             {set("session", nil), damaged},
	"text session":             {set("session", "not json"), damaged},
	"number session":           {set("session", 7), damaged},
	"list session":             {set("session", bson.A{"a"}), damaged},
	"empty session":            {set("session", []byte{}), damaged},
	"session of junk":          {set("session", []byte("junk that gob did not write")), damaged},
	"sealed session":           {set("session", bson.Binary{Subtype: 0x80, Data: make([]byte, 64)}), damaged},
	"session of old binary":    {set("session", bson.Binary{Subtype: 2, Data: []byte{1}}), damaged},
	"no createdAt":             {unset("createdAt"), live},
	"null createdAt":           {set("createdAt", nil), damaged},
	"text createdAt":           {set("createdAt", "yesterday"), damaged},
	"list of createdAt":        {set("createdAt", bson.A{time.Now()}), damaged},
	"no updatedAt":             {unset("updatedAt"), live},
	"text updatedAt":           {set("updatedAt", "yesterday"), damaged},
	"no version":               {unset("version"), live},
	"null version":             {set("version", nil), damaged},
	"zero version":             {set("version", int64(0)), damaged},
	"text version":             {set("version", "1"), damaged},
	"double version":           {set("version", 1.5), damaged},
	"another version":          {set("version", int64(1)), live},
	"text user":                {set("user", "mallory"), live},
	"list of users":            {set("user", bson.A{"alice"}), damaged},
	"null user":                {set("user", nil), damaged},
	"zero maxAge":              {set("maxAge", 0), live},
	"absurd maxAge":            {set("maxAge", int64(math.MaxInt64)), live},
	"negative maxAge":          {set("maxAge", -1), damaged},
	"text maxAge":              {set("maxAge", "1"), damaged},
	"maxAge that is no number": {set("maxAge", math.NaN()), damaged},
	"a field of their own":     {set("note", bson.A{1, "x"}), live},
}

// eachEdit runs a test for the edits that have one of these verdicts, on a visitor's session whose document
// is edited after the visit was loaded.
func eachEdit(t *testing.T, verdicts []verdict, test func(t *testing.T, w *wire, before *visit, verdict verdict)) {
	t.Helper()
	server := mongotest.Standalone(t) // FerretDB hangs up on NaN
	for what, row := range edits {
		if !slices.Contains(verdicts, row.verdict) {
			continue
		}
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p, sent := watched(t, server)
			store := p.store(patient())
			w := &wire{t, p, start(t, store, map[any]any{"n": 1}), store, sent}
			before := w.visit()
			edit(t, p.coll, before.ID, row.update)
			test(t, w, before, row.verdict)
		})
	}
}

func TestR01EditedDocumentLetsInOnlyWhomItBelongsTo(t *testing.T) {
	t.Parallel()
	eachEdit(t, anyVerdict, func(t *testing.T, w *wire, before *visit, verdict verdict) {
		v := w.visit()
		switch verdict {
		case live:
			if v.err != nil || v.IsNew || v.ID != before.ID || v.Values["n"] != 1 {
				t.Errorf("Get: new %v, %v, %v; want the session", v.IsNew, v.Values, v.err)
			}
		case damaged:
			wantStandIn(t, v, mongostore.ErrDecode)
		default:
			wantStandIn(t, v, nil)
		}
	})
}

func TestR03SavingBesideAnEditedDocumentLeavesItAlone(t *testing.T) {
	t.Parallel()
	eachEdit(t, []verdict{gone, foreign, damaged}, func(t *testing.T, w *wire, before *visit, verdict verdict) {
		edited := rawDocuments(t, w.coll)
		w.clock.Advance(time.Hour) // so that it is not a session that was renewed a moment ago
		v := w.visit()
		if verdict == damaged { // other stand-ins are stored at once, as new sessions are
			v.saved(t)
			wantNoCookie(t, v)
			wantSameDocuments(t, w.coll, edited)
		}
		v.Values["new"] = true
		v.saved(t)
		v.arrive()
		if v.ID == "" || v.ID == before.ID {
			t.Errorf("the new session's id is %q, the damaged one's %q", v.ID, before.ID)
		}
		w.wantValues(t, w.store, map[any]any{"new": true})
		if err := w.store.Destroy(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		wantSameDocuments(t, w.coll, edited)
	})
}

func TestR05LogoutDeletesAnEditedDocumentIfTheCookieProvesIt(t *testing.T) {
	t.Parallel()
	eachEdit(t, anyVerdict, func(t *testing.T, w *wire, _ *visit, verdict verdict) {
		v := w.visit()
		v.Options.MaxAge = -1
		v.saved(t)
		wantExpired(t, v)
		want := int64(0)
		if verdict == foreign {
			want = 1
		}
		if n := documents(t, w.coll); n != want {
			t.Errorf("%d documents are left, want %d", n, want)
		}
	})
}

func TestR09EditedDocumentThatIsStillTheSessionCanBeSaved(t *testing.T) {
	t.Parallel()
	eachEdit(t, []verdict{live}, func(t *testing.T, w *wire, _ *visit, _ verdict) {
		w.clock.Advance(time.Hour)
		touched := w.visit()
		touched.saved(t)
		if _, ok := w.store.Record(touched.Session); !ok {
			t.Error("no record")
		}
		doc, _ := w.document(touched.ID)
		if at := doc["updatedAt"].(bson.DateTime).Time(); !at.Equal(w.clock.Now()) {
			t.Errorf("updatedAt is %v after a Save at %v", at, w.clock.Now())
		}
		v := w.visit()
		v.Values["n"] = 2
		w.sent.Take()
		v.saved(t)
		if sent := w.sent.Names(); len(sent) != 1 {
			t.Errorf("Save sent %q", sent)
		}
		w.wantValues(t, w.store, map[any]any{"n": 2})
		login := w.visit()
		w.store.Regenerate(login.Session)
		login.saved(t)
		w.wantGone(t, w.store)
		login.arrive()
		w.wantValues(t, w.store, map[any]any{"n": 2})
	})
}

func TestR09SaveOfASessionWhoseDocumentIsEditedMeanwhileEnds(t *testing.T) {
	t.Parallel()
	eachEdit(t, anyVerdict, func(t *testing.T, _ *wire, before *visit, verdict verdict) {
		before.Values["late"] = true
		err := before.save()
		if verdict == foreign {
			wantIs(t, err, mongostore.ErrNotFound)
			wantNoCookie(t, before)
		}
		if verdict == live && err != nil {
			t.Errorf("Save: %v", err)
		}
		wantNoTimeout(t, err)
	})
}

// wantNoTimeout fails if a Save went round and round until Config.Timeout.
func wantNoTimeout(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), "Timeout") || strings.Contains(err.Error(), "deadline")) {
		t.Errorf("Save: %v", err)
	}
}

func TestR03DocumentEditedIntoATextVersionDuringASaveIsADamagedOne(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(patient())
	v := start(t, store, nil).load(t, store)
	edit(t, p.coll, v.ID, set("version", "1"))
	edited := rawDocuments(t, p.coll)
	v.Values["n"] = 1
	wantIs(t, v.save(), mongostore.ErrDecode)
	wantNoCookie(t, v)
	wantSameDocuments(t, p.coll, edited)
}

func TestR03DamageOfOneCookieDoesNotHideTheSessionOfAnother(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(nil)
	a, b := start(t, store, nil), start(t, store, map[any]any{"n": 1})
	edit(t, p.coll, a.load(t, store).ID, set("session", "damaged"))
	for _, order := range [][]*http.Cookie{{a.cookies[0], b.cookies[0]}, {b.cookies[0], a.cookies[0]}} {
		(&browser{cookies: order}).wantValues(t, store, map[any]any{"n": 1})
	}
}

func TestR03TruncatedPayloadIsDamageAtEachLength(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(nil)
	b := start(t, store, map[any]any{"n": 1, "s": "text", "l": []byte("bytes")})
	id := b.load(t, store).ID
	doc, _ := p.document(id)
	data := doc["session"].(bson.Binary).Data
	for n := range data {
		edit(t, p.coll, id, set("session", data[:n]))
		wantStandIn(t, b.load(t, store), mongostore.ErrDecode)
	}
}

// documentSeeds are documents whole and broken.
func documentSeeds(f *testing.F) {
	f.Helper()
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		f.Fatal(err)
	}
	session, _ := store.New(new(http.Request), name)
	session.Values["n"], session.Values[7] = 1, "text"
	if err := session.Save(new(http.Request), noResponse{}); err != nil {
		f.Fatal(err)
	}
	whole, _ := mongostore.Document(store, session.ID)
	for n := range whole {
		f.Add([]byte(whole[:n]))
	}
	f.Add([]byte(whole))
	for _, row := range edits {
		if fields, ok := row.update[0].Value.(bson.D); ok {
			if raw, err := bson.Marshal(fields); err == nil {
				f.Add(raw)
			}
		}
	}
}

// noResponse is a response that nobody reads.
type noResponse struct{}

func (noResponse) Header() http.Header         { return http.Header{} }
func (noResponse) Write(p []byte) (int, error) { return len(p), nil }
func (noResponse) WriteHeader(int)             {}

func FuzzDocument(f *testing.F) {
	documentSeeds(f)
	store, err := mongostore.NewMemory(&mongostore.Config{MaxLifetime: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		session, fits, err := mongostore.OpenDocument(store, document, name)
		if fits {
			t.Error("a secret that nobody has fits")
		}
		if session.Values == nil || session.Options == nil || session.Options.MaxAge < 0 {
			t.Fatalf("the session is %+v", session)
		}
		if err != nil && len(session.Values) > 0 {
			t.Errorf("values %v beside the error %v", session.Values, err)
		}
	})
}

func FuzzCookie(f *testing.F) {
	store, err := mongostore.NewMemory(nil, key)
	if err != nil {
		f.Fatal(err)
	}
	codec := securecookie.New(key, nil).MaxAge(0).SetSerializer(securecookie.NopEncoder{})
	stored, _ := store.New(new(http.Request), name)
	stored.Values["n"] = 1
	if err := stored.Save(new(http.Request), noResponse{}); err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		"", ".", "a", "a.", ".b", "a.b", "a.b.c", stored.ID, stored.ID + ".", stored.ID + ".x", "\x00.\x00", "=", "MTY5|x|",
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, sign bool) {
		if sign {
			signed, err := codec.Encode(name, []byte(text))
			if err != nil {
				return // too long for a cookie
			}
			text = signed
		}
		r := &http.Request{Header: http.Header{"Cookie": {name + "=" + text}}}
		session, err := store.New(r, name)
		if session == nil || !session.IsNew || session.ID != "" || len(session.Values) > 0 {
			t.Fatalf("New: %+v, %v", session, err)
		}
		if sign && err != nil {
			t.Errorf("a cookie that verifies, of no session: %v", err)
		}
	})
}

func TestR12CountAgreesWithLoadsAboutEditedDocuments(t *testing.T) {
	t.Parallel()
	for what, update := range map[string]bson.D{
		"no createdAt": unset("createdAt"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Shared(t))
			store := p.store(&mongostore.Config{MaxLifetime: 24 * time.Hour})
			b := start(t, store, nil)
			edit(t, p.coll, b.load(t, store).ID, update)
			var want int64
			if !b.load(t, store).IsNew {
				want = 1
			}
			wantCount(t, store, want)
		})
	}
}

func TestR16SessionWithoutCreatedAtDoesNotEscapeMaxLifetime(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(&mongostore.Config{MaxLifetime: 24 * time.Hour})
	b := start(t, store, map[any]any{"n": 0})
	edit(t, p.coll, b.load(t, store).ID, unset("createdAt"))
	for n := range 72 {
		p.clock.Advance(time.Hour)
		v := b.load(t, store)
		if v.IsNew {
			return
		}
		v.Values["n"] = n
		v.saved(t)
	}
	t.Error("it is alive after three days")
}
