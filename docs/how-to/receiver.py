"""Receives SETs (RFC 8935). Arguments: port, URL of the JWK Set, issuer, audience."""

import json
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt

PORT, KEYS, ISSUER, AUDIENCE = int(sys.argv[1]), jwt.PyJWKClient(sys.argv[2]), sys.argv[3], sys.argv[4]
CODES = {jwt.InvalidIssuerError: "invalid_issuer", jwt.InvalidAudienceError: "invalid_audience"}
CODES |= {jwt.InvalidSignatureError: "invalid_key", jwt.PyJWKClientError: "invalid_key"}
INBOX = sqlite3.connect("received.db", timeout=60, isolation_level=None)
INBOX.execute("CREATE TABLE IF NOT EXISTS inbox (jti TEXT PRIMARY KEY, claims TEXT NOT NULL)")
NEEDED = {"require": ["iss", "aud", "iat", "jti", "sub_id", "events"]}


class Receiver(BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self):
        status, problem = 202, None
        try:
            self.store(self.verified(self.rfile.read(int(self.headers["Content-Length"]))))
        except jwt.PyJWKClientConnectionError:
            status = 503
        except jwt.PyJWTError as exc:
            status, problem = 400, {"err": CODES.get(type(exc), "invalid_request"), "description": str(exc)}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(problem).encode() if problem else b"")

    def verified(self, token):
        key, checks = KEYS.get_signing_key_from_jwt(token), {"issuer": ISSUER, "audience": AUDIENCE}
        decoded = jwt.decode_complete(token, key, ["ES256"], NEEDED, leeway=60, **checks)
        types = {self.headers.get_content_type(), f"application/{decoded['header'].get('typ')}"}
        if types != {"application/secevent+jwt"}:
            raise jwt.InvalidTokenError("the content type and typ of a SET are secevent+jwt")
        return decoded["payload"]

    def store(self, claims):
        row = (claims["jti"], json.dumps(claims))
        if INBOX.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", row).rowcount:
            print("verified:", claims["sub_id"]["uri"], json.dumps(claims["events"]), flush=True)


HTTPServer(("", PORT), Receiver).serve_forever()
