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
			"record.go", `coll.UpdateOne(ctx, g.filter(), rec.changes(s, c.lastModified))`,
			`coll.UpdateOne(ctx, g.filter(), rec.changes(s, c.lastModified), options.UpdateOne().SetUpsert(true))`,
		},
		{
			"record.go", "return false, errUnacknowledged\n\t}\n\treturn res.MatchedCount > 0, nil",
			"return false, errUnacknowledged\n\t}\n\treturn res.MatchedCount+res.UpsertedCount > 0, nil",
		},
	}},
	{"no version in the filter", []edit{
		{"record.go", "\tif g.version == 0 {\n\t\td = d.null(\"version\")\n\t} else {\n\t\td = d.int64(\"version\", g.version)\n\t}\n", ""},
	}},
	{"merge without base", []edit{
		{"merge.go", `mergeKey(at(base, key), `, `mergeKey(at(nil, key), `},
	}},
	{"no token in the filter", []edit{
		{"record.go", "\tif g.token == nil {\n\t\td = d.null(\"token\") // which an absent field equals\n\t} else {\n\t\td = d.binary(\"token\", g.token)\n\t}\n", ""},
		{"save.go", "\tcase !sv.state.cookie.fit(rec):\n\t\treturn sv.startOver(rec)\n", ""},
	}},
	{"no token in the filter of a delete", []edit{
		{"record.go", `filter = append(filter, bson.E{Key: "token", Value: token})`, `_ = token`},
	}},
	{"no expires in the filter", []edit{
		{"record.go", "\td, start := d.begin(\"expires\")\n\td = d.date(\"$gt\", g.now).endAt(start)\n", "\tvar start int\n"},
	}},
	{"expired sessions are loaded", []edit{
		{"load.go", `case !s.lifetimes.live(rec, now), rec.name`, `case rec.name`},
	}},
	{"cookie set though the write failed", []edit{
		{"save.go", "\t\t} else if err != nil {\n\t\t\treturn nil, explain(", "\t\t} else if err != nil {\n\t\t\treturn d, explain("},
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
		{"record.go", "\tif s == renewal {\n\t\td = d.binary(\"token\", rec.token)\n\t}\n", ""},
	}},
	{"no quiet stand-in after a login", []edit{
		{"load.go", `st.quiet = st.quiet || now.Sub(rec.createdAt) < justRenewed`, `_ = now.Sub(rec.createdAt) < justRenewed`},
	}},
}
