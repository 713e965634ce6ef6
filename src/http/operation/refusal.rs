//! JSON answers of 200 that refuse: some APIs say only in the body that a login failed, and no standard says how. What is
//! known are the words that many use, in the outermost object.

use serde_json::Value;

use super::without_mark;

/// Members that are true where all is well.
const WELL: [&str; 8] =
    ["success", "successful", "succeeded", "ok", "authenticated", "isauthenticated", "loggedin", "valid"];

/// Members that have something in them where something went wrong.
const WRONG: [&str; 3] = ["error", "errors", "fault"];

/// Members that say how it came out by a word or a number, and words for that it did not.
const STATE: [&str; 5] = ["status", "result", "code", "statuscode", "state"];
const FAILED: [&str; 10] = [
    "error",
    "fail",
    "failed",
    "failure",
    "denied",
    "rejected",
    "unauthorized",
    "forbidden",
    "invalid_credentials",
    "ko",
];

/// Whether the text of an answer refuses. One that gives a token does not, whatever else it says.
pub(super) fn is(text: &[u8]) -> bool {
    let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(without_mark(text)) else { return false };
    let mut refused = false;
    for (name, value) in &members {
        let name: String =
            name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
        if name.ends_with("token") && value.as_str().is_some_and(|token| !token.is_empty()) {
            return false;
        }
        refused |= match name.as_str() {
            name if WELL.contains(&name) => *value == Value::Bool(false),
            name if WRONG.contains(&name) => says_something(value),
            name if STATE.contains(&name) => match value {
                Value::String(word) => {
                    FAILED.contains(&word.to_ascii_lowercase().as_str()) || is_refusal(word.parse().ok())
                }
                number => is_refusal(number.as_u64()),
            },
            _ => false,
        };
    }
    refused
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(wrong) => *wrong,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// One of the statuses by which HTTP refuses.
fn is_refusal(status: Option<u64>) -> bool {
    matches!(status, Some(400 | 401 | 403 | 422 | 429))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_their_twins() {
        for (text, refuses) in [
            (r#"{"success":false}"#, true),
            (r#"{"Success":false,"message":"no"}"#, true),
            (r#"{"error":"invalid_credentials"}"#, true),
            (r#"{"errors":[{"code":17}]}"#, true),
            (r#"{"status":"error","data":null}"#, true),
            (r#"{"status_code":401}"#, true),
            (r#"{"code":"401","msg":"x"}"#, true),
            (r#"{"is_authenticated":false,"token":null}"#, true),
            (r#"{"success":true,"error":null}"#, false),
            (r#"{"error":"","code":0,"data":{"id":7}}"#, false),
            (r#"{"error":false,"errors":[]}"#, false),
            (r#"{"status":"ok","user":{"error":"x","success":false}}"#, false),
            (r#"{"access_token":"abc","error":"deprecated"}"#, false),
            (r#"{"status":200}"#, false),
            (r#"[{"success":false}]"#, false),
            (r#"{"success":false"#, false),
            ("", false),
        ] {
            assert_eq!(is(text.as_bytes()), refuses, "{text}");
        }
    }
}
