package soajs

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// URI returns the connection string: servers, credentials, database, and the options that it can say. The rest
// is in [Config.Config]. It holds the password.
func (c Config) URI() string {
	hosts := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		port := s.Port
		if port == 0 {
			port = 27017
		}
		hosts[i] = net.JoinHostPort(strings.Trim(s.Host, "[]"), strconv.Itoa(port))
	}
	var query []string
	for key, value := range c.read().uri {
		query = append(query, escape(key)+"="+escape(value))
	}
	slices.Sort(query)
	uri := "mongodb://" + c.userinfo() + strings.Join(hosts, ",") + "/" + escape(c.Prefix+c.Name)
	if len(query) > 0 {
		uri += "?" + strings.Join(query, "&")
	}
	return uri
}

func (c Config) userinfo() string {
	if c.Credentials == nil || c.Credentials.Username == "" {
		return ""
	}
	user := escape(c.Credentials.Username)
	if c.Credentials.Password != "" { // there is none with a certificate
		user += ":" + escape(c.Credentials.Password)
	}
	return user + "@"
}

// escape is for every part of a connection string. The driver takes a plus sign for a space in some parts only.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
