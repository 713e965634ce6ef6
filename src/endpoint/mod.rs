//! What is called: the endpoint of a call.
