//! Demands that a sentence can make beside its main wish. A foundation lists those that it meets;
//! any other one in the sentence is refused by name, because half of a wish is not the wish.

/// One kind of demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The name used in `match.can`.
    pub id: &'static str,
    /// What it is, for people.
    pub says: &'static str,
    /// Phrases that express it; `_` is up to three words.
    pub phrases: &'static [&'static str],
}

const fn demand(id: &'static str, says: &'static str, phrases: &'static [&'static str]) -> Demand {
    Demand { id, says, phrases }
}

/// All of them.
pub const DEMANDS: &[Demand] = &[
    demand("notify", "telling somebody", &["alert me", "notify me", "warn me", "let me know", "ping me", "inform me", "tell me", "send _ alert", "send _ notification", "alert us", "notify us", "raise alarm"]),
    demand("email", "sending mail", &["email me", "email it", "email us", "email them", "email to", "e mail me", "e mail it", "mail me", "mail it", "mail us", "mail to", "mail them", "send _ email", "send _ e mail", "send _ mail", "by email", "by mail", "via email", "via mail", "through email", "as email", "an email", "to my inbox", "gmail", "outlook", "smtp", "<email>", "email the", "mail the", "email my", "newsletter to", "email everyone", "email a", "forward _ email"]),
    demand("chat", "posting to a chat", &["slack", "discord", "telegram", "whatsapp", "signal message", "ms teams", "microsoft teams", "teams channel", "mattermost", "matrix room", "irc", "chat channel"]),
    demand("phone", "phone messages", &["sms", "text me", "text message", "send _ text message", "push notification", "call my phone", "phone call", "phone me", "ring me", "pushover", "pagerduty", "page me"]),
    demand("cloud", "a cloud or another machine", &["s3", "aws", "azure", "gcp", "google cloud", "dropbox", "google drive", "gdrive", "onedrive", "icloud", "upload", "ftp", "sftp", "scp", "rsync", "ssh", "nas", "remote server", "another server", "another machine", "other machine", "offsite", "off site", "cloud", "minio", "backblaze", "b2 bucket", "bucket", "webdav", "nextcloud", "remote host", "mirror to"]),
    demand("encrypt", "encryption", &["encrypt", "encrypted", "encryption", "password protect", "password protected", "gpg", "pgp", "with password"]),
    demand("git", "git and GitHub", &["git commit", "git push", "commit and push", "push to git", "push to github", "github", "gitlab", "pull request", "git repo", "bitbucket", "git"]),
    demand("translate", "translation", &["translate", "translation", "into german", "into french", "into spanish", "into english"]),
    demand("summarise", "writing with a language model", &["summarise", "summarize", "rewrite", "proofread", "paraphrase", "write _ essay", "write _ article", "write _ blog post", "explain", "reply", "answer questions", "key takeaways", "action items", "sentiment", "classify", "brainstorm"]),
    demand("media", "pictures, sound and video", &["resize", "thumbnail", "thumbnails", "crop", "watermark", "transcode", "transcribe", "ocr", "convert _ video", "convert _ audio", "compress _ images", "compress _ photos", "compress _ video", "screenshot", "screenshots", "face", "faces", "text to speech", "play _ song", "play _ sound", "record _ screen", "webcam", "download _ videos", "youtube"]),
    demand("office", "office documents", &["pdf", "excel", "xlsx", "xls", "word document", "docx", "powerpoint", "pptx", "spreadsheet", "google sheet", "google sheets", "google docs", "pivot table"]),
    demand("chart", "charts", &["chart", "charts", "graph", "graphs", "plot", "plots", "histogram", "pie chart", "bar chart", "visualise", "visualize", "dashboard", "heatmap"]),
    demand("browse", "using web pages like a person", &["log into", "log in to", "login to", "sign in to", "click", "fill in", "fill out", "scrape", "scraping", "crawl", "crawler", "javascript", "browser", "selenium", "captcha", "download _ from _ website"]),
    demand("social", "social networks", &["tweet", "twitter", "facebook", "instagram", "linkedin", "mastodon", "tiktok", "reddit", "post on social", "social media"]),
    demand("buy", "money and orders", &["buy", "purchase", "place _ order", "book _ flight", "book _ table", "book _ hotel", "pay _ bill", "trade", "trading", "stripe payment", "charge _ card", "order _ pizza", "order _ food"]),
    demand("operate", "operating machines", &["restart _ server", "restart _ service", "reboot", "restart it", "restart the", "shut down", "shutdown", "deploy", "kubernetes", "docker", "install", "uninstall", "upgrade", "patch", "kill _ process", "cpu usage", "memory usage", "firewall", "block _ ip", "ban _ ip", "ban ips", "roll back", "fail over", "scale up", "format _ disk", "format _ drive", "roll out"]),
    demand("otherdb", "other databases", &["mysql", "mariadb", "mongodb", "mongo", "oracle", "sql server", "mssql", "redis", "snowflake", "bigquery", "cassandra", "dynamodb", "elasticsearch", "clickhouse", "duckdb", "firebase"]),
    demand("saas", "other people's services", &["notion", "jira", "trello", "airtable", "salesforce", "hubspot", "asana", "zendesk", "google calendar", "calendar event", "calendar", "shopify", "zapier", "confluence", "monday.com", "quickbooks", "stripe", "paypal", "spotify", "obsidian", "evernote", "todoist"]),
    demand("learn", "predictions and learning", &["predict", "prediction", "forecast", "train _ model", "machine learning", "neural network", "anomaly detection", "detect anomalies", "recommend", "cluster", "regression"]),
    demand("event", "starting at an event instead of a time", &["whenever", "every time", "each time", "any time a", "as soon as", "the moment", "when a new file", "when new files", "when a file", "when files", "when something changes", "on every change", "on change", "on save", "when i plug", "when i save", "when i add", "when i drop", "on every commit", "on commit", "on push", "on startup", "at startup", "at boot", "on boot", "at login", "when my computer starts", "when the computer starts", "in real time", "real time", "instantly"]),
    demand("restore", "restoring", &["restore", "recover", "recovery", "undelete", "roll back to", "import"]),
    demand("sync", "keeping two places the same", &["sync", "synchronise", "synchronize", "two way", "bidirectional", "mirror", "replicate", "incremental", "incrementally", "deduplicate", "dedupe", "duplicate", "duplicates", "differential"]),
    demand("rename", "changing files or what is in them", &["rename", "renaming", "merge", "concatenate", "split _ into", "search and replace", "find and replace", "edit", "convert", "reformat", "change _ encoding", "clean up _ columns", "remove _ columns", "fix _ typos", "virus", "malware", "scan _ for viruses", "checksum", "unzip", "extract _ archives", "unpack", "decompress"]),
    demand("accounts", "log-ins and rights", &["login", "log in", "sign in", "sign up", "user accounts", "authentication", "authenticate", "oauth", "jwt", "single sign on", "role based", "permissions for users", "api key", "api keys", "rate limit", "rate limiting"]),
    demand("frontend", "pages and apps for people", &["frontend", "front end", "web page for", "web app", "webapp", "mobile app", "android", "ios app", "iphone", "react", "user interface", "gui", "ui", "website for", "landing page", "homepage", "graphql", "websocket", "websockets", "grpc", "desktop app", "chrome extension", "browser extension", "game", "chatbot", "chat bot", "voice assistant"]),
    demand("relations", "links between records", &["foreign key", "many to many", "one to many", "relation between", "relations between", "relationship between", "belongs to", "joined with", "join with", "linked to"]),
    demand("compare", "comparing with earlier results", &["compare _ with last", "compare _ to last", "compared to last", "year over year", "week over week", "trend", "trends", "diff between", "difference between"]),
    demand("filter_rows", "choosing rows by a condition", &["only rows where", "where the", "rows where", "only where", "filter", "exclude rows", "ignore rows", "only count", "outliers"]),
    demand("print", "printing on paper", &["printer", "print it out", "print _ on paper", "fax"]),
    demand("permanent", "deleting for good", &["permanently", "for good", "forever", "irreversibly", "shred", "wipe", "securely delete", "rm rf"]),
];
