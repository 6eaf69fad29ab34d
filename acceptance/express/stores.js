// The session stores that connect-mongo makes of the settings of a test.
'use strict';

const crypto = require('node:crypto');
const connectMongo = require('connect-mongo');
const connectMongo5 = require('connect-mongo-5');
const session = require('express-session');
const connectMongoDBSession = require('connect-mongodb-session')(session);

const adapters = {
  web: (options) => connectMongo.createWebCryptoAdapter({ ...options, salt: options.salt && Buffer.from(options.salt) }),
  kruptein: connectMongo.createKrupteinAdapter,
};

// storeOf returns a store of connect-mongo 6.
function storeOf(settings, client) {
  const options = { ...settings.store };
  if (settings.crypto) {
    const { kind, ...rest } = settings.crypto;
    options.cryptoAdapter = adapters[kind](rest);
  }
  if (settings.idKey) {
    options.transformId = (id) => crypto.createHmac('sha256', settings.idKey).update(id).digest('hex');
  }
  return connectMongo.MongoStore.create({
    ...options,
    client,
    dbName: settings.database,
    collectionName: settings.collection,
  });
}

// storeOf5 returns a store of connect-mongo 5.1.0.
function storeOf5(settings, client) {
  return connectMongo5.create({ ...settings.store, client, dbName: settings.database, collectionName: settings.collection });
}

// storeOfSession returns a store of connect-mongodb-session, which has a client of its own.
function storeOfSession(settings, uri) {
  return new connectMongoDBSession({ uri, databaseName: settings.database, collection: settings.collection });
}

module.exports = { storeOf, storeOf5, storeOfSession };
