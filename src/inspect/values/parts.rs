//! Parts of a multipart form: their values, and what files are called. What is in a file is not looked at.

use super::super::parts::{Event, Splitter};
use super::field::{Against, Fields, plain};

/// What the name of a file is called, below the field that it is sent in.
const FILE_NAME: &str = "filename";

/// Reads a multipart form.
#[derive(Debug, Default)]
pub(super) struct Parts {
    splitter: Splitter,
    file: bool,
}

impl Parts {
    pub(super) fn begin(&mut self) {
        self.splitter.begin();
        self.file = false;
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], fields: &mut Fields, against: Against<'_>) {
        let Parts { splitter, file } = self;
        splitter.data(bytes, |event| match event {
            Event::Begin { name, file: called } => {
                fields.over();
                fields.name(0, name, against.rules);
                *file = !called.is_empty();
                if *file {
                    fields.aside(FILE_NAME, called, against);
                }
            }
            Event::Data(bytes) if !*file => fields.keep(bytes),
            Event::End(_) if !*file => fields.text_is_value(plain, against),
            Event::Data(_) | Event::End(_) => {}
        });
    }
}
