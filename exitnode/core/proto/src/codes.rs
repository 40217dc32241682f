//! Stable error codes. Generated from operator/hawse_api/names.py by `make codegen`; do not edit.

/// One code: its number, its HTTP status and a sentence of what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `1003` of `HAWSE-1003`; also the application error code of a reset stream.
    pub number: u32,
    /// HTTP status at the edge; 0 = never sent to a visitor.
    pub status: u16,
    /// What happened, in one sentence.
    pub title: &'static str,
}

/// There is no tunnel at this address.
pub const NO_SUCH_TUNNEL: Code = Code {
    number: 1001,
    status: 404,
    title: "There is no tunnel at this address.",
};

/// No agent is connected for this tunnel.
pub const NO_AGENT: Code = Code {
    number: 1002,
    status: 503,
    title: "No agent is connected for this tunnel.",
};

/// The tunnel works, but the app on the developer's side refused the connection.
pub const APP_REFUSED: Code = Code {
    number: 1003,
    status: 502,
    title: "The tunnel works, but the app on the developer's side refused the connection.",
};

/// The app accepted the request and did not answer in time.
pub const APP_TIMED_OUT: Code = Code {
    number: 1004,
    status: 504,
    title: "The app accepted the request and did not answer in time.",
};

/// The app closed the connection before it had answered.
pub const APP_CLOSED: Code = Code {
    number: 1005,
    status: 502,
    title: "The app closed the connection before it had answered.",
};

/// The request is not valid HTTP.
pub const BAD_REQUEST: Code = Code {
    number: 1006,
    status: 400,
    title: "The request is not valid HTTP.",
};

/// The head of the request is too large.
pub const HEADERS_TOO_LARGE: Code = Code {
    number: 1007,
    status: 431,
    title: "The head of the request is too large.",
};

/// This tunnel is closed.
pub const TUNNEL_CLOSED: Code = Code {
    number: 1008,
    status: 503,
    title: "This tunnel is closed.",
};

/// The body of the request arrives too slowly.
pub const BODY_TOO_SLOW: Code = Code {
    number: 1009,
    status: 408,
    title: "The body of the request arrives too slowly.",
};

/// This exit node has no room for another request.
pub const OVERLOADED: Code = Code {
    number: 1010,
    status: 503,
    title: "This exit node has no room for another request.",
};

/// The transfer coding of the request is not supported.
pub const CODING_NOT_SUPPORTED: Code = Code {
    number: 1011,
    status: 501,
    title: "The transfer coding of the request is not supported.",
};

/// This connection was made for another host name.
pub const MISDIRECTED: Code = Code {
    number: 1012,
    status: 421,
    title: "This connection was made for another host name.",
};

/// The agent was lost while it carried this request.
pub const AGENT_LOST: Code = Code {
    number: 1013,
    status: 502,
    title: "The agent was lost while it carried this request.",
};

/// The app's answer is not valid HTTP.
pub const APP_INVALID: Code = Code {
    number: 1014,
    status: 502,
    title: "The app's answer is not valid HTTP.",
};

/// CONNECT is not served here.
pub const METHOD_NOT_SUPPORTED: Code = Code {
    number: 1015,
    status: 405,
    title: "CONNECT is not served here.",
};

/// The tunnel leads to an address that is not allowed.
pub const TARGET_NOT_ALLOWED: Code = Code {
    number: 1016,
    status: 502,
    title: "The tunnel leads to an address that is not allowed.",
};

/// This exit node has been without its operator for too long.
pub const CONFIGURATION_TOO_OLD: Code = Code {
    number: 1017,
    status: 503,
    title: "This exit node has been without its operator for too long.",
};

/// This tunnel lets in only visitors who prove who they are.
pub const UNAUTHENTICATED: Code = Code {
    number: 1018,
    status: 401,
    title: "This tunnel lets in only visitors who prove who they are.",
};

/// This tunnel does not let you in.
pub const FORBIDDEN: Code = Code {
    number: 1019,
    status: 403,
    title: "This tunnel does not let you in.",
};

/// Who may use this tunnel cannot be checked at the moment.
pub const ACCESS_UNAVAILABLE: Code = Code {
    number: 1020,
    status: 503,
    title: "Who may use this tunnel cannot be checked at the moment.",
};

/// This sign-in cannot be completed.
pub const SIGN_IN_FAILED: Code = Code {
    number: 1021,
    status: 400,
    title: "This sign-in cannot be completed.",
};

/// The identity provider did not answer as it should.
pub const PROVIDER_FAILED: Code = Code {
    number: 1022,
    status: 502,
    title: "The identity provider did not answer as it should.",
};

/// No exit node could be reached.
pub const NO_EXIT_NODE: Code = Code {
    number: 2001,
    status: 0,
    title: "No exit node could be reached.",
};

/// Agent and exit node speak no common version of the protocol.
pub const VERSION_MISMATCH: Code = Code {
    number: 2002,
    status: 0,
    title: "Agent and exit node speak no common version of the protocol.",
};

/// The AgentToken was deleted: its agents are cut off.
pub const REVOKED: Code = Code {
    number: 2003,
    status: 0,
    title: "The AgentToken was deleted: its agents are cut off.",
};

/// No Tunnel names this token.
pub const NO_TUNNEL: Code = Code {
    number: 2004,
    status: 0,
    title: "No Tunnel names this token.",
};

/// Several Tunnels name this token.
pub const SEVERAL_TUNNELS: Code = Code {
    number: 2005,
    status: 0,
    title: "Several Tunnels name this token.",
};

/// Nothing listens where the tunnel leads.
pub const APP_NOT_LISTENING: Code = Code {
    number: 2006,
    status: 0,
    title: "Nothing listens where the tunnel leads.",
};

/// Another session of the same agent took this one's place.
pub const SUPERSEDED: Code = Code {
    number: 2007,
    status: 0,
    title: "Another session of the same agent took this one's place.",
};

/// There is no login on this machine.
pub const NOT_LOGGED_IN: Code = Code {
    number: 2008,
    status: 0,
    title: "There is no login on this machine.",
};

/// The peer sent something that is not a frame of this protocol.
pub const BAD_FRAME: Code = Code {
    number: 2009,
    status: 0,
    title: "The peer sent something that is not a frame of this protocol.",
};

/// This token may not serve that tunnel.
pub const NOT_ALLOWED: Code = Code {
    number: 2010,
    status: 0,
    title: "This token may not serve that tunnel.",
};

/// The exit node could not prove who it is.
pub const EXIT_NODE_UNTRUSTED: Code = Code {
    number: 2011,
    status: 0,
    title: "The exit node could not prove who it is.",
};

/// A file of the agent cannot be read.
pub const CONFIG_UNREADABLE: Code = Code {
    number: 2012,
    status: 0,
    title: "A file of the agent cannot be read.",
};

/// The address is in use already.
pub const PORT_IN_USE: Code = Code {
    number: 2013,
    status: 0,
    title: "The address is in use already.",
};

/// The agent's certificate has expired.
pub const CERTIFICATE_EXPIRED: Code = Code {
    number: 2014,
    status: 0,
    title: "The agent's certificate has expired.",
};

/// The exit node is stopping.
pub const DRAINING: Code = Code {
    number: 2015,
    status: 0,
    title: "The exit node is stopping.",
};

/// The exit node does not accept the agent's certificate.
pub const CERTIFICATE_REFUSED: Code = Code {
    number: 2016,
    status: 0,
    title: "The exit node does not accept the agent's certificate.",
};

/// This is not the text of a token.
pub const TOKEN_MALFORMED: Code = Code {
    number: 3001,
    status: 0,
    title: "This is not the text of a token.",
};

/// The token is not known or its secret is wrong.
pub const TOKEN_WRONG: Code = Code {
    number: 3002,
    status: 0,
    title: "The token is not known or its secret is wrong.",
};

/// The token was deleted.
pub const TOKEN_REVOKED: Code = Code {
    number: 3003,
    status: 0,
    title: "The token was deleted.",
};

/// The token has expired.
pub const TOKEN_EXPIRED: Code = Code {
    number: 3004,
    status: 0,
    title: "The token has expired.",
};

/// The token was good for one agent and is used up.
pub const TOKEN_USED_UP: Code = Code {
    number: 3005,
    status: 0,
    title: "The token was good for one agent and is used up.",
};

/// The token's maximum of agents is reached.
pub const TOO_MANY_AGENTS: Code = Code {
    number: 3006,
    status: 0,
    title: "The token's maximum of agents is reached.",
};

/// The clocks of agent and exit node differ too much.
pub const CLOCK_SKEW: Code = Code {
    number: 3007,
    status: 0,
    title: "The clocks of agent and exit node differ too much.",
};

/// Too many attempts to enrol.
pub const TOO_MANY_ATTEMPTS: Code = Code {
    number: 3008,
    status: 0,
    title: "Too many attempts to enrol.",
};

/// The exit node cannot reach the operator.
pub const OPERATOR_AWAY: Code = Code {
    number: 3009,
    status: 0,
    title: "The exit node cannot reach the operator.",
};

/// The operator does not accept this exit node.
pub const EXIT_NODE_REFUSED: Code = Code {
    number: 3010,
    status: 0,
    title: "The operator does not accept this exit node.",
};

/// The certificate request is not acceptable.
pub const BAD_CSR: Code = Code {
    number: 3011,
    status: 0,
    title: "The certificate request is not acceptable.",
};

/// All of them.
pub const ALL: &[Code] = &[
    NO_SUCH_TUNNEL,
    NO_AGENT,
    APP_REFUSED,
    APP_TIMED_OUT,
    APP_CLOSED,
    BAD_REQUEST,
    HEADERS_TOO_LARGE,
    TUNNEL_CLOSED,
    BODY_TOO_SLOW,
    OVERLOADED,
    CODING_NOT_SUPPORTED,
    MISDIRECTED,
    AGENT_LOST,
    APP_INVALID,
    METHOD_NOT_SUPPORTED,
    TARGET_NOT_ALLOWED,
    CONFIGURATION_TOO_OLD,
    UNAUTHENTICATED,
    FORBIDDEN,
    ACCESS_UNAVAILABLE,
    SIGN_IN_FAILED,
    PROVIDER_FAILED,
    NO_EXIT_NODE,
    VERSION_MISMATCH,
    REVOKED,
    NO_TUNNEL,
    SEVERAL_TUNNELS,
    APP_NOT_LISTENING,
    SUPERSEDED,
    NOT_LOGGED_IN,
    BAD_FRAME,
    NOT_ALLOWED,
    EXIT_NODE_UNTRUSTED,
    CONFIG_UNREADABLE,
    PORT_IN_USE,
    CERTIFICATE_EXPIRED,
    DRAINING,
    CERTIFICATE_REFUSED,
    TOKEN_MALFORMED,
    TOKEN_WRONG,
    TOKEN_REVOKED,
    TOKEN_EXPIRED,
    TOKEN_USED_UP,
    TOO_MANY_AGENTS,
    CLOCK_SKEW,
    TOO_MANY_ATTEMPTS,
    OPERATOR_AWAY,
    EXIT_NODE_REFUSED,
    BAD_CSR,
];
