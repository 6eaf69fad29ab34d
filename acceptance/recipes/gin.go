package recipes

import (
	"errors"
	"net/http"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// ginStore makes a Store one of gin-contrib/sessions.
type ginStore struct{ *mongostore.Store }

// Options implements ginsessions.Store. It replaces all of the cookie's attributes, as there.
func (s ginStore) Options(options ginsessions.Options) {
	s.Store.Options = options.ToGorillaOptions()
}

// Gin is a shop on gin with gin-contrib/sessions.
func Gin(store *mongostore.Store) http.Handler {
	save := func(c *gin.Context) {
		if err := ginsessions.Default(c).Save(); err != nil {
			c.String(http.StatusServiceUnavailable, "please try again")
			return
		}
		c.Redirect(http.StatusSeeOther, "/")
	}
	router := gin.New()
	router.Use(ginsessions.Sessions("sid", ginStore{store}))
	router.POST("/logout", func(c *gin.Context) {
		ginsessions.Default(c).Options(ginsessions.Options{MaxAge: -1})
		save(c)
	})
	router.Use(func(c *gin.Context) { // what Default loads then is the same session; it keeps errors to itself
		if _, err := store.Get(c.Request, "sid"); errors.Is(err, mongostore.ErrUnavailable) {
			c.AbortWithStatus(http.StatusServiceUnavailable)
		}
	})
	router.GET("/", func(c *gin.Context) {
		session := ginsessions.Default(c)
		c.String(http.StatusOK, "user %v, basket %v\n", session.Get("user"), session.Get("basket"))
	})
	router.POST("/basket/:item", func(c *gin.Context) {
		ginsessions.Default(c).Set("basket", c.Param("item"))
		save(c)
	})
	router.POST("/login", func(c *gin.Context) {
		session := ginsessions.Default(c)
		session.Set("user", c.PostForm("user")) // after you have checked the password
		store.Regenerate(session.(interface{ Session() *sessions.Session }).Session())
		save(c)
	})
	return store.KeepAlive("sid")(router)
}
