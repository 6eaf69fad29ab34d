// Package mongostore is a MongoDB session store for [gorilla/sessions]. Session data lives in MongoDB, the browser gets
// only a signed cookie, and expired sessions are deleted automatically.
//
// The example of the package is a whole program: it counts the visits of each browser.
//
// # Login and logout
//
// Call [Store.Regenerate] at login, so that older cookies are worthless after it. To log out, set session.Options.MaxAge
// to -1 and save. The session keeps any other MaxAge: 0 for a cookie that ends with the browser, more for "remember me".
//
// # Errors
//
// [Store.Get] returns a new session beside an error, safe to save; only ErrUnavailable needs an answer of its own, 503. If
// Save returns ErrNotFound, the session has ended: send the user to log in. Call session.Save; gorilla's sessions.Save
// turns errors into text.
//
// # Lifetime
//
// A session ends at its deadline, whether or not its record has been deleted by then: MaxAge, or Config.TTL if that is 0,
// after the last Save, and never later than Config.MaxLifetime after the login. With [Store.KeepAlive], requests that
// only read count too.
//
// # Concurrent requests
//
// Save merges: changes of different keys all survive, and so do additions with AddFlash. If two requests change the same
// key, the later Save wins, unless Config.OnConflict says otherwise. A late Save cannot bring back an ended session.
//
// # Values
//
// Config.PayloadCodec encodes the values: [GobCodec], the default, takes any type, [JSONCodec] and [BSONCodec] can be read
// by others, [BytesCodec] takes the functions of another format. A Config.Sealer, such as [AESGCM], encrypts them.
//
// # From outside a request
//
// With Config.UserID, [Store.ByUser] lists the sessions of a user and [Store.DestroyByUser] ends them: "your devices",
// "log out everywhere". [Store.Update] changes the values of a session and [Store.Destroy] ends it, whatever its requests
// are doing. Config.Observe is called after each operation, for metrics and logs.
//
// # Moving in
//
// Config.Previous is your former store: its sessions are imported, and nobody has to log in again. Config.PlainIDs stores
// sessions as connect-mongo does for Express.
//
// # Tests
//
// [NewMemory] needs no server. In a testing/synctest bubble, a session's lifetime passes at once.
//
// [gorilla/sessions]: https://pkg.go.dev/github.com/gorilla/sessions
package mongostore
