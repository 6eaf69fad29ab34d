package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// lifetime is that of all contestants' sessions.
const lifetime = 14 * 24 * time.Hour

// upserts is the least that could be called a session: found by _id, written by
// _id, and nothing that keeps requests from overwriting each other. Its payload is
// binary: the count, and the other values encoded once and for all.
type upserts struct {
	coll    *mongo.Collection
	payload []byte
}

// openUpserts opens the bare driver: what is found by _id is written by _id.
func openUpserts(ctx context.Context, s *stage) (app, error) {
	coll, end, err := expiring(ctx, s, "upserts")
	if err != nil {
		return nil, err
	}
	f := &upserts{coll, binaryPayload(s.values)}
	return &inProcess{page(f.serve), []func(){end}}, nil
}

// expiring returns a collection with the TTL index that the stores have too.
func expiring(ctx context.Context, s *stage, name string) (*mongo.Collection, func(), error) {
	coll, end, err := s.collection(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	_, err = coll.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "expires", Value: 1}}, Options: options.Index().SetExpireAfterSeconds(0),
	})
	if err != nil {
		end()
		return nil, nil, err
	}
	return coll, end, nil
}

func binaryPayload(vs values) []byte {
	encoded, _ := json.Marshal(vs.with(0))
	return append(make([]byte, 8), encoded...)
}

func (f *upserts) serve(w http.ResponseWriter, r *http.Request, o op, count int) error {
	if o == create {
		id, token := rand.Text(), rand.Text()
		setCookie(w, id, token)
		return f.write(r.Context(), id, bson.D{{Key: "token", Value: token}, f.session(f.payload, count), newDeadline()})
	}
	id, token, ok := cookieParts(r)
	if !ok {
		return errNoSession
	}
	doc, err := f.coll.FindOne(r.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	if stored, ok := doc.Lookup("token").StringValueOK(); !ok || stored != token {
		return errNoSession
	}
	_, payload := doc.Lookup("session").Binary()
	found := int(binary.LittleEndian.Uint64(payload)) //nolint:gosec // written below
	switch o {
	case read:
		return writePayload(w, payload)
	case unchanged:
		err = f.write(r.Context(), id, bson.D{newDeadline()})
	case change:
		err = f.write(r.Context(), id, bson.D{f.session(payload, count), newDeadline()})
	case regenerate:
		token = rand.Text()
		err = f.write(r.Context(), id, bson.D{{Key: "token", Value: token}, newDeadline()})
	}
	if err != nil {
		return err
	}
	if o != load {
		setCookie(w, id, token)
	}
	return writeCount(w, found)
}

func (f *upserts) write(ctx context.Context, id string, set bson.D) error {
	_, err := f.coll.UpdateOne(ctx, bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$set", Value: set}}, options.UpdateOne().SetUpsert(true))
	return err
}

// session returns the field with a payload at this count.
func (f *upserts) session(payload []byte, count int) bson.E {
	changed := append([]byte(nil), payload...)
	binary.LittleEndian.PutUint64(changed, uint64(count)) //nolint:gosec // a count
	return bson.E{Key: "session", Value: changed}
}

func newDeadline() bson.E { return bson.E{Key: "expires", Value: time.Now().Add(lifetime)} }

func cookieParts(r *http.Request) (id, token string, ok bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(cookie.Value, ".")
}

func setCookie(w http.ResponseWriter, id, token string) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: id + "." + token, Path: "/", MaxAge: int(lifetime.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// writePayload answers the values of a binary payload.
func writePayload(w http.ResponseWriter, payload []byte) error {
	var all map[string]any
	if err := json.Unmarshal(payload[8:], &all); err != nil {
		return err
	}
	all[countKey] = binary.LittleEndian.Uint64(payload)
	return json.NewEncoder(w).Encode(all)
}

// floor is what no store that sends the commands of mongostore can be cheaper
// than: a find by _id, and updates that match only the record as it was loaded,
// and write what a record has beside the payload. Nothing makes a session of them.
type floor struct {
	upserts
	durable *mongo.Collection // for what mongostore writes with majority
}

func openFloor(ctx context.Context, s *stage) (app, error) {
	coll, end, err := expiring(ctx, s, floorKey)
	if err != nil {
		return nil, err
	}
	durable := coll.Clone(options.Collection().SetWriteConcern(writeconcern.Majority()))
	o := &floor{upserts{coll, binaryPayload(s.values)}, durable}
	return &inProcess{page(o.serve), []func(){end}}, nil
}

func (f *floor) serve(w http.ResponseWriter, r *http.Request, o op, count int) error {
	if o == create {
		return f.insert(w, r, count)
	}
	id, token, ok := cookieParts(r)
	if !ok {
		return errNoSession
	}
	doc, err := f.coll.FindOne(r.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	if stored, ok := doc.Lookup("token").StringValueOK(); !ok || stored != token || doc.Lookup("expires").Time().Before(time.Now()) {
		return errNoSession
	}
	_, payload := doc.Lookup("session").Binary()
	found := int(binary.LittleEndian.Uint64(payload)) //nolint:gosec // written below
	if o == read {
		return writePayload(w, payload)
	}
	if o != load {
		if token, err = f.save(r.Context(), o, doc, f.session(payload, count)); err != nil {
			return err
		}
		setCookie(w, id, token)
	}
	return writeCount(w, found)
}

func (f *floor) insert(w http.ResponseWriter, r *http.Request, count int) error {
	id, token, now := rand.Text(), rand.Text(), time.Now()
	_, err := f.durable.InsertOne(r.Context(), bson.D{
		{Key: "_id", Value: id},
		{Key: "token", Value: token},
		{Key: "name", Value: cookieName},
		f.session(f.payload, count), newDeadline(),
		{Key: "createdAt", Value: now},
		{Key: "updatedAt", Value: now},
		{Key: "version", Value: version()},
	})
	if err != nil {
		return err
	}
	setCookie(w, id, token)
	return nil
}

// save writes what this operation changes, and returns the token of then.
func (f *floor) save(ctx context.Context, o op, doc bson.Raw, session bson.E) (string, error) {
	now, coll, token := time.Now(), f.coll, doc.Lookup("token").StringValue()
	set := bson.D{newDeadline(), {Key: "updatedAt", Value: now}}
	switch o {
	case change:
		set = append(set, session, bson.E{Key: "version", Value: version()})
	case regenerate:
		coll = f.durable
		set = append(set, session, bson.E{Key: "version", Value: version()}, bson.E{Key: "createdAt", Value: now}, bson.E{Key: "token", Value: rand.Text()})
	}
	update := bson.D{{Key: "$set", Value: set}}
	if o != unchanged {
		update = append(update, bson.E{Key: "$unset", Value: bson.D{{Key: "user", Value: ""}, {Key: "maxAge", Value: ""}}})
	}
	res, err := coll.UpdateOne(ctx, bson.D{
		{Key: "_id", Value: doc.Lookup("_id")},
		{Key: "token", Value: token},
		{Key: "version", Value: doc.Lookup("version")},
		{Key: "expires", Value: bson.D{{Key: "$gt", Value: now}}},
	}, update)
	if err != nil {
		return "", err
	}
	if res.MatchedCount == 0 {
		return "", errNoSession
	}
	if o == regenerate {
		token = set[len(set)-1].Value.(string)
	}
	return token, nil
}

func version() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return int64(binary.LittleEndian.Uint64(b[:])) //nolint:gosec // any 64 bits will do
}
