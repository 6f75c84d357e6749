"""Where records come from: lists, files on any storage, and queries; read as a stream."""
