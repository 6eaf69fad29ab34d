package main

// defect is a mistake that a store of this kind is easily built with.
type defect struct {
	name  string
	edits []edit
}

// edit replaces a text that must be there exactly once.
type edit struct{ file, old, new string }

// defects are planted one by one. The token in the filter of an update is not
// missed while the version is there too, since a renewal writes a new version:
// so that one goes together with the comparison after a miss, as in a store
// that leaves the token to the filter.
var defects = []defect{
	{"upsert on save", []edit{
		{
			"record.go", `coll.UpdateOne(ctx, g.filter(), rec.changes(s))`,
			`coll.UpdateOne(ctx, g.filter(), rec.changes(s), options.UpdateOne().SetUpsert(true))`,
		},
		{
			"record.go", "return false, errUnacknowledged\n\t}\n\treturn res.MatchedCount > 0, nil",
			"return false, errUnacknowledged\n\t}\n\treturn res.MatchedCount+res.UpsertedCount > 0, nil",
		},
	}},
	{"no version in the filter", []edit{
		{"record.go", "\t\t{Key: \"version\", Value: version},\n", ""},
		{"record.go", "\tfilter := bson.D{\n\t\t{Key: \"_id\", Value: g.id},\n", "\t_ = version\n\tfilter := bson.D{\n\t\t{Key: \"_id\", Value: g.id},\n"},
	}},
	{"merge without base", []edit{
		{"merge.go", `mergeKey(at(base, key), `, `mergeKey(at(nil, key), `},
	}},
	{"no token in the filter", []edit{
		{"record.go", "\t\t{Key: \"token\", Value: g.token},\n", ""},
		{"save.go", "\tcase !sv.state.cookie.fit(rec):\n\t\treturn sv.startOver(rec)\n", ""},
	}},
	{"no token in the filter of a delete", []edit{
		{"record.go", `filter = append(filter, bson.E{Key: "token", Value: token})`, `_ = token`},
	}},
	{"no expires in the filter", []edit{
		{"record.go", "\t\t{Key: \"expires\", Value: bson.D{{Key: \"$gt\", Value: g.now}}},\n\t}\n\tif !g.session", "\t}\n\tif !g.session"},
	}},
	{"cookie set without a write: nothing to write", []edit{
		{"save.go", "d.expires, d.maxAge) {\n\t\treturn nil, nil\n", "d.expires, d.maxAge) {\n\t\treturn d, sv.prepareCookie(d)\n"},
	}},
	{"cookie set without a write: nothing matched", []edit{
		{"save.go", "\t\tsv.event.Err = errEnded\n\t\treturn nil, nil\n", "\t\tsv.event.Err = errEnded\n"},
	}},
	{"load failure treated as no session", []edit{
		{"load.go", "\t\tst.failed = err\n\t}\n\treturn err\n", "\t\treturn nil\n\t}\n\treturn err\n"},
	}},
	{"values not brought home after a merge", []edit{
		{"save.go", "\t\tsv.bringHome()\n", ""},
	}},
	{"old secret stays good after Regenerate", []edit{
		{"record.go", `bson.E{Key: "token", Value: rec.token})` + "\n\t\tif rec.labels", `bson.E{Key: "name", Value: rec.name})` + "\n\t\tif rec.labels"},
	}},
	{"no quiet stand-in after a login", []edit{
		{"load.go", `st.quiet = st.quiet || now.Sub(rec.createdAt) < justRenewed`, `_ = now.Sub(rec.createdAt) < justRenewed`},
	}},
}
