module github.com/mongostore/mongostore/acceptance

go 1.25.0

replace github.com/mongostore/mongostore => ../
