//! The data type `information`, as the original's producer made it.

use crate::config::{DocumentField, DocumentForm, DocumentMapping, Variable};

/// The mapping of the data type `information`.
#[must_use]
pub fn information() -> DocumentMapping {
    use DocumentForm::{JsonText, List, Text};
    let field = |name: &str, path: &str, form| DocumentField {
        path: Some(path.to_owned()),
        form,
        ..DocumentField::named(name)
    };
    let or = |default: &str, field: DocumentField| DocumentField { default: Some(default.into()), ..field };
    let or_none = |field: DocumentField| DocumentField { default: Some(serde_json::json!([])), ..field };
    let or_null = |field: DocumentField| DocumentField { nullable: true, ..or("", field) };
    DocumentMapping {
        fields: vec![
            field("uid", "_id", Text),
            DocumentField { variable: Some(Variable::Topic), ..DocumentField::named("topic") },
            or("", field("name", "info_name", Text)),
            or("", field("created_at", "create_time", Text)),
            DocumentField { constant: Some("information_nsfc".into()), ..DocumentField::named("data_type") },
            or_none(field("tag_values", "column_info", JsonText)),
            or_none(field("link_data", "link_data", List)),
            DocumentField {
                remove: ["来源：", "日期", " "].map(str::to_owned).into(),
                ..or_null(field("data.info_date", "info_date", Text))
            },
            or_none(field("data.info_section", "info_section", List)),
            or_null(field("data.info_author", "info_author", Text)),
            or_null(field("data.description", "description", Text)),
            or("zh", field("metadata.marc_code", "marc_code", Text)),
            or("", field("metadata.details_page", "page_url", Text)),
        ],
    }
}
