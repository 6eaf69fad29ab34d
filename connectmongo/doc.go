// Package connectmongo lets a Go application and an Express one share a login: one collection, one cookie, one
// session, which either may begin, change and end. It speaks the formats of express-session 1.19 and connect-mongo 6,
// and reads what connect-mongo 5 and connect-mongodb-session 5 wrote. Its parts are values for a mongostore.Config:
//
//	store, err := mongostore.New(ctx, coll, &mongostore.Config{
//		PlainIDs:     true,
//		CookieCodecs: []securecookie.Codec{connectmongo.Cookie(secret)},
//		PayloadCodec: connectmongo.Codec{},
//	})
//
// With touchAfter, set Config.LastModified; with transformId, Config.TransformID. Handlers pass the name of the cookie
// to Get, "connect.sid" unless express-session was given another. The secrets, the name and the form of the payload
// must be the same on both sides; the attributes of a cookie and the lifetime of a session are those of the side that
// began it, since express-session keeps them in the session.
//
// # What Express cannot keep
//
// The rules of mongostore hold among Go applications. express-session writes a whole session by its id, whether or not
// it is still there and whoever has changed it since, so while a request to Express is under way:
//
//   - a session that is ended in Go comes back if that request changes it;
//   - so does the old id of a session that is renewed by Regenerate: whoever has the old cookie is logged in again;
//   - what is changed in Go is overwritten. The other way round, Go merges.
//
// Log out where Express does, or end the user's sessions again a moment later, if that is too much. Beyond that:
//
//   - Express does not know of Config.MaxLifetime, UserID and Labels. A session that Express made has a user, for
//     Store.ByUser and DestroyByUser, only once Go has saved it, and one whose user Express changed has the old one
//     until then.
//   - The id in the cookie is the _id, unless there is a TransformID: whoever reads the database and has the secret of
//     the cookie can use every session.
//   - Express rounds integers beyond 2^53 when it writes a session in JSON, and cannot read what a mongostore.Sealer
//     made; use a Crypto. That does not bind a ciphertext to its record: whoever can write to the database can give
//     one user's session to another.
//   - Where a session cannot be read, because of a wrong secret for instance, Go goes on with a new session beside an
//     ErrDecode, and Express answers 500.
//
// docs/from-express.md of the module has the way from one to the other, step by step.
package connectmongo
