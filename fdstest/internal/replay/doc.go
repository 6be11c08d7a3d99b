// Package replay notices when something that serves once comes again: the jti of
// a client assertion (RFC 7523 section 3) or of a DPoP proof (RFC 9449 section
// 11.1).
package replay
