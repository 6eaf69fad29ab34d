package main

// defect is a mistake that a store of this kind is easily built with.
type defect struct {
	name  string
	edits []edit
}

// edit replaces a text that must be there exactly once.
type edit struct{ file, old, new string }

const (
	recordFile     = "internal/record/record.go"
	memoryFile     = "internal/record/memory.go"
	collectionFile = "internal/record/collection.go"
)

// defects are planted one by one. The token in the filter of an update is not
// missed while the version is there too, since a renewal writes a new version:
// so that one goes together with the comparison after a miss, as in a store
// that leaves the token to the filter.
var defects = []defect{
	{"upsert on save", []edit{
		{
			collectionFile, `coll.UpdateOne(ctx, m.filter(), rec.update(m, change, c.LastModified))`,
			`coll.UpdateOne(ctx, m.filter(), rec.update(m, change, c.LastModified), options.UpdateOne().SetUpsert(true))`,
		},
		{collectionFile, `return res.MatchedCount > 0, nil`, `return res.MatchedCount+res.UpsertedCount > 0, nil`},
	}},
	{"no version in the filter", []edit{
		{recordFile, "\tif m.Version == 0 {\n\t\td = d.Null(\"version\")\n\t} else {\n\t\td = d.Int64(\"version\", m.Version)\n\t}\n", ""},
		{memoryFile, ` && cur.Version == m.Version`, ``},
	}},
	{"merge without base", []edit{
		{"internal/values/merge.go", `mergeKey(at(base, key), `, `mergeKey(at(nil, key), `},
	}},
	{"no token in the filter", []edit{
		{recordFile, `.String("_id", m.ID).Binary("token", m.Token)`, `.String("_id", m.ID)`},
		{memoryFile, `bytes.Equal(cur.Token, m.Token) && cur.Version`, `cur.Version`},
		{"internal/plan/plan.go", "\tcase s.Fits || s.Shared:\n\t\treturn Current\n\t}\n\treturn Renewed\n", "\t}\n\treturn Current\n"},
	}},
	{"no token in the filter of a delete", []edit{
		{collectionFile, `filter = append(filter, bson.E{Key: "token", Value: token})`, `_ = token`},
		{memoryFile, `len(token) > 0 && bytes.Equal(cur.Token, token)`, `len(token) > 0`},
	}},
	{"no expires in the filter", []edit{
		{recordFile, "\t\td, start = d.Begin(\"expires\")\n\t\td = d.Date(\"$gt\", m.Now).EndAt(start)\n", "\t\t_ = start\n"},
		{memoryFile, `live := cur.Expires.After(m.Now)`, `live := true`},
	}},
	{"expired sessions are loaded", []edit{
		{"load.go", `case !s.live(rec, now), rec.Name`, `case rec.Name`},
	}},
	{"cookie set though the write failed", []edit{
		{"save.go", "\t\tif err != nil {\n\t\t\treturn nil, nil, err\n\t\t}\n\t}\n\tnext,", "\t\tif err != nil {\n\t\t\treturn d, nil, err\n\t\t}\n\t}\n\tnext,"},
	}},
	{"cookie set without a write: nothing to write", []edit{
		{"save.go", "\t\tsv.event = Event{}\n\t\treturn nil, nil, nil\n", "\t\tsv.event = Event{}\n\t\treturn d, nil, sv.prepareCookie(b, d)\n"},
	}},
	{"cookie set without a write: nothing matched", []edit{
		{"save.go", "\t\tsv.event.Err = err\n\t\treturn nil, nil, nil\n\t}\n\treturn nil, nil, sv.quiet", "\t\tsv.event.Err = err\n\t\treturn d, nil, nil\n\t}\n\treturn nil, nil, sv.quiet"},
	}},
	{"cookie set without a write: others have stored the same", []edit{
		{"save.go", "\t\tsv.commit(b, d)\n\t\treturn nil, nil\n", "\t\terr := sv.prepareCookie(b, d)\n\t\tsv.commit(b, d)\n\t\treturn d, err\n"},
	}},
	{"load failure treated as no session", []edit{
		{"load.go", "\t\tst.failed = err\n\t}\n\treturn err\n", "\t\treturn nil\n\t}\n\treturn err\n"},
	}},
	{"values not brought home after a merge", []edit{
		{"save.go", "\t\tsv.applyMerged(b.values)\n", ""},
	}},
	{"old secret stays good after Regenerate", []edit{
		{recordFile, "\tcase Renewal:\n\t\td = d.Binary(\"token\", rec.Token)\n", ""},
		{memoryFile, `cur.Token, cur.Labels = rec.Token, rec.Labels`, `cur.Labels = rec.Labels`},
	}},

	{"late placeholder stored", []edit{
		{"save.go", `return errLate`, `return nil`},
	}},
	{"late placeholder stored: plain ids", []edit{
		{"load.go", "\tcase rec.Retired() && !rec.UpdatedAt.IsZero() && now.Sub(rec.UpdatedAt).Abs() < justRenewed:\n\t\tl.standsInLate()\n\t\treturn ErrNotFound\n", ""},
	}},
	{"navigation refused after a renewal", []edit{
		{"load.go", `l.r.Header.Get("Sec-Fetch-Mode") == "navigate"`, `false`},
	}},
	{"Regenerate of a late request refused", []edit{
		{"save.go", `sv.state.placeholder == late && !sv.renew`, `sv.state.placeholder == late`},
	}},
	{"retire without filter", anyRecord("Retire")},
	{"activate without checking the tombstone", []edit{
		{"write.go", "\tif old == nil || !old.Retired() || old.Next != pending.ID || old.By != pending.Version || old.By == 0 {\n\t\treturn nil, ErrNotFound\n\t}\n", "\t_ = old\n"},
	}},
	{"renewal of a plain id without a tombstone", []edit{
		{"write.go", "\tout, err := server.update(ctx, b.target.Match(sv.store.now()), &tombstone, record.Retire)\n", "\t_ = tombstone\n\tn, err := server.delete(ctx, b.target.ID, []byte{})\n\tout = missed\n\tif n > 0 {\n\t\tout = written\n\t}\n"},
	}},
	{"logout that does not follow a tombstone", []edit{
		{"end.go", "\t\t\tid = rec.Next\n", "\t\t\treturn 0, nil\n"},
	}},
	{"logout deletes a tombstone instead", []edit{
		{"end.go", `n, err := s.server.delete(ctx, id, []byte{})`, `n, err := s.server.delete(ctx, id, nil)`},
	}},
	{"history of versions ignored", []edit{
		{"internal/plan/plan.go", `if slices.Contains(s.Before[:], a.Version) {`, `if a.Version == 0 {`},
	}},
	{"touch miss not read again", []edit{
		{"save.go", "\t\tif err != nil {\n\t\t\treturn nil, nil, err\n\t\t}\n\t}\n\tnext,", "\t\tif err != nil || d.change == record.Deadline {\n\t\t\treturn nil, nil, err\n\t\t}\n\t}\n\tnext,"},
	}},
	{"due by the deadline of the record alone", []edit{
		{"expiry.go", `!updatedAt.IsZero() && l.worth`, `false && l.worth`},
	}},
	{"Touch counts as a Save", []edit{
		{recordFile, `EndAt(start); !lastModified {`, `EndAt(start); false {`},
		{recordFile, "\tif c.rewrites() {\n\t\td = d.Value(", "\tif c == Prolong {\n\t\td = d.Date(\"updatedAt\", rec.UpdatedAt)\n\t}\n\tif c.rewrites() {\n\t\td = d.Value("},
		{memoryFile, "\t\tcur.Expires = rec.Expires\n\t}\n", "\t\tcur.Expires, cur.UpdatedAt = rec.Expires, rec.UpdatedAt\n\t}\n"},
	}},
	{"Touch without version filter", anyRecord("Prolong")},
	{"Touch moves a deadline back", []edit{
		{recordFile, `d, start = d.Begin("$max")`, `d, start = d.Begin("$set")`},
		{recordFile, `EndAt(start); !lastModified {`, `EndAt(start); true {`},
		{memoryFile, `case c == Prolong && rec.Expires.After(cur.Expires):`, `case c == Prolong:`},
	}},
	{"Overwrite by an unchanged Save", []edit{
		{"reread.go", `if mode == OnConflictOverwrite && sv.changedValues(b) {`, `if mode == OnConflictOverwrite {`},
	}},
	{"attributes of the cookie not kept", []edit{
		{"load.go", `err = setAttributes(session.Options, rec.Cookie)`, `_ = setAttributes(session.Options, nil)`},
	}},
	{"attributes of the cookie lost in a merge", []edit{
		{"admin.go", "\t_ = setAttributes(&options, rec.Cookie)\n", ""},
	}},
	{"renewal for a request that has ended", []edit{
		{"write.go", `err != nil && d.change == record.Renewal && b.target != nil {`, `err != nil && false {`},
	}},
	{"only the first cookie counts", []edit{
		{"cookie.go", `const maxCookies = 16`, `const maxCookies = 1`},
	}},
}

// anyRecord lets a change go by the id of a record and its deadline alone.
func anyRecord(change string) []edit {
	return []edit{
		{
			collectionFile, "\tres, err := coll.UpdateOne(ctx, m.filter(), ",
			"\tvar filter any = m.filter()\n\tif change == " + change + " {\n" +
				"\t\tfilter = bson.D{{Key: \"_id\", Value: m.ID}, {Key: \"expires\", Value: bson.D{{Key: \"$gt\", Value: m.Now}}}}\n\t}\n" +
				"\tres, err := coll.UpdateOne(ctx, filter, ",
		},
		{memoryFile, `if !ok || !match.passes(&cur) {`, `if !ok || !match.passes(&cur) && !(c == ` + change + ` && cur.Expires.After(match.Now)) {`},
	}
}
