// Schemas of files and vector stores for the OpenAPI document. What OpenAI's API does not have says "Gritstone".
#include "apps/server/openapi.h"

namespace gritstone {

const std::string_view kOpenApiStoreSchemas = R"json({
"Metadata": {"type": "object", "maxProperties": 16, "propertyNames": {"maxLength": 64}, "additionalProperties": {"type": "string", "maxLength": 512}},
"Attributes": {
  "type": "object", "maxProperties": 16, "propertyNames": {"maxLength": 64},
  "additionalProperties": {"anyOf": [{"type": "string", "maxLength": 512}, {"type": "number"}, {"type": "boolean"}]}
},
"Deleted": {
  "type": "object", "required": ["id", "object", "deleted"],
  "properties": {"id": {"type": "string"}, "object": {"type": "string"}, "deleted": {"const": true}}
},
"CreateFile": {
  "type": "object", "required": ["file", "purpose"],
  "properties": {
    "file": {"type": "string", "format": "binary"},
    "purpose": {"type": "string", "enum": ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]}
  }
},
"File": {
  "type": "object", "required": ["id", "object", "bytes", "created_at", "filename", "purpose", "status"],
  "properties": {
    "id": {"type": "string"}, "object": {"const": "file"}, "bytes": {"type": "integer"}, "created_at": {"type": "integer"},
    "expires_at": {"type": ["integer", "null"]}, "filename": {"type": "string"}, "purpose": {"type": "string"},
    "status": {"const": "processed"}, "status_details": {"type": ["string", "null"]}
  }
},
"FileList": {
  "type": "object", "required": ["object", "data", "first_id", "last_id", "has_more"],
  "properties": {
    "object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/File"}},
    "first_id": {"type": ["string", "null"]}, "last_id": {"type": ["string", "null"]}, "has_more": {"type": "boolean"}
  }
},
"FileCounts": {
  "type": "object", "required": ["in_progress", "completed", "failed", "cancelled", "total"],
  "properties": {
    "in_progress": {"type": "integer"}, "completed": {"type": "integer"}, "failed": {"type": "integer"},
    "cancelled": {"type": "integer"}, "total": {"type": "integer"}
  }
},
"ChunkingStrategy": {
  "description": "auto: passages of at most 256 tokens. Passages never overlap: chunk_overlap_tokens has no effect.",
  "oneOf": [
    {"type": "null"},
    {"type": "object", "required": ["type"], "properties": {"type": {"const": "auto"}, "static": {"type": "null"}}},
    {"type": "object", "required": ["type", "static"], "properties": {"type": {"const": "static"}, "static": {
      "type": "object", "required": ["max_chunk_size_tokens"],
      "properties": {"max_chunk_size_tokens": {"type": "integer", "minimum": 100, "maximum": 4096},
        "chunk_overlap_tokens": {"type": ["integer", "null"], "minimum": 0, "maximum": 2048}}}}}
  ]
},
"CreateVectorStore": {
  "type": "object",
  "properties": {
    "name": {"type": ["string", "null"], "maxLength": 256},
    "file_ids": {"type": ["array", "null"], "maxItems": 500, "items": {"type": "string"}},
    "chunking_strategy": {"$ref": "#/components/schemas/ChunkingStrategy"},
    "metadata": {"anyOf": [{"$ref": "#/components/schemas/Metadata"}, {"type": "null"}]}
  }
},
"ModifyVectorStore": {
  "type": "object",
  "properties": {
    "name": {"type": ["string", "null"], "maxLength": 256},
    "metadata": {"anyOf": [{"$ref": "#/components/schemas/Metadata"}, {"type": "null"}]}
  }
},
"VectorStore": {
  "type": "object", "required": ["id", "object", "created_at", "name", "usage_bytes", "file_counts", "status", "last_active_at", "metadata"],
  "properties": {
    "id": {"type": "string"}, "object": {"const": "vector_store"}, "created_at": {"type": "integer"}, "name": {"type": "string"},
    "usage_bytes": {"type": "integer", "description": "of passages and their vectors"},
    "file_counts": {"$ref": "#/components/schemas/FileCounts"}, "status": {"enum": ["in_progress", "completed"]},
    "expires_after": {"type": "null"}, "expires_at": {"type": "null"}, "last_active_at": {"type": ["integer", "null"]},
    "metadata": {"$ref": "#/components/schemas/Metadata"},
    "collection": {"type": "string", "description": "Gritstone: the collection's name; model gritstone/NAME answers from it"},
    "generation": {"type": "integer", "description": "Gritstone: grows with every change"},
    "documents": {"type": "integer", "description": "Gritstone"}, "passages": {"type": "integer", "description": "Gritstone"},
    "passages_with_vectors": {"type": "integer", "description": "Gritstone"}
  }
},
"VectorStoreList": {
  "type": "object", "required": ["object", "data", "first_id", "last_id", "has_more"],
  "properties": {
    "object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/VectorStore"}},
    "first_id": {"type": ["string", "null"]}, "last_id": {"type": ["string", "null"]}, "has_more": {"type": "boolean"}
  }
},
"CreateVectorStoreFile": {
  "type": "object", "required": ["file_id"],
  "properties": {
    "file_id": {"type": "string", "minLength": 1},
    "attributes": {"anyOf": [{"$ref": "#/components/schemas/Attributes"}, {"type": "null"}]},
    "chunking_strategy": {"$ref": "#/components/schemas/ChunkingStrategy"}
  }
},
"ModifyVectorStoreFile": {
  "type": "object", "required": ["attributes"], "properties": {"attributes": {"$ref": "#/components/schemas/Attributes"}}
},
"VectorStoreFile": {
  "type": "object", "required": ["id", "object", "usage_bytes", "created_at", "vector_store_id", "status", "last_error"],
  "properties": {
    "id": {"type": "string"}, "object": {"const": "vector_store.file"}, "created_at": {"type": "integer"}, "usage_bytes": {"type": "integer"},
    "vector_store_id": {"type": "string"}, "status": {"enum": ["in_progress", "completed", "cancelled", "failed"]},
    "last_error": {"type": ["object", "null"], "required": ["code", "message"], "properties": {
      "code": {"enum": ["server_error", "unsupported_file", "invalid_file"]}, "message": {"type": "string"}}},
    "chunking_strategy": {"type": "object"}, "attributes": {"$ref": "#/components/schemas/Attributes"},
    "filename": {"type": "string", "description": "Gritstone: the document's name in citations"},
    "progress": {"type": "object", "description": "Gritstone", "required": ["stage", "done", "total"], "properties": {
      "stage": {"enum": ["queued", "vectors", "done"], "description": "vectors: searchable by words"},
      "done": {"type": "integer"}, "total": {"type": "integer", "description": "passages"}}}
  }
},
"VectorStoreFileList": {
  "type": "object", "required": ["object", "data", "first_id", "last_id", "has_more"],
  "properties": {
    "object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/VectorStoreFile"}},
    "first_id": {"type": ["string", "null"]}, "last_id": {"type": ["string", "null"]}, "has_more": {"type": "boolean"}
  }
},
"CreateFileBatch": {
  "description": "file_ids with attributes and chunking_strategy for all of them, or files with their own",
  "oneOf": [
    {"type": "object", "required": ["file_ids"], "properties": {
      "file_ids": {"type": "array", "minItems": 1, "maxItems": 500, "items": {"type": "string"}}, "files": {"type": "null"},
      "attributes": {"anyOf": [{"$ref": "#/components/schemas/Attributes"}, {"type": "null"}]},
      "chunking_strategy": {"$ref": "#/components/schemas/ChunkingStrategy"}}},
    {"type": "object", "required": ["files"], "properties": {
      "files": {"type": "array", "minItems": 1, "maxItems": 500, "items": {"$ref": "#/components/schemas/CreateVectorStoreFile"}},
      "file_ids": {"type": "null"},
      "attributes": {"anyOf": [{"$ref": "#/components/schemas/Attributes"}, {"type": "null"}]},
      "chunking_strategy": {"$ref": "#/components/schemas/ChunkingStrategy"}}}
  ]
},
"FileBatch": {
  "type": "object", "required": ["id", "object", "created_at", "vector_store_id", "status", "file_counts"],
  "properties": {
    "id": {"type": "string"}, "object": {"const": "vector_store.files_batch"}, "created_at": {"type": "integer"},
    "vector_store_id": {"type": "string"}, "status": {"enum": ["in_progress", "completed", "cancelled"]},
    "file_counts": {"$ref": "#/components/schemas/FileCounts"}
  }
},
"FileContent": {
  "type": "object", "required": ["object", "data", "has_more", "next_page"],
  "properties": {
    "object": {"const": "vector_store.file_content.page"}, "file_id": {"type": "string"}, "filename": {"type": "string"},
    "attributes": {"$ref": "#/components/schemas/Attributes"},
    "data": {"type": "array", "items": {"type": "object", "required": ["type", "text"], "properties": {
      "type": {"const": "text"}, "text": {"type": "string"}, "heading": {"type": "string", "description": "Gritstone"},
      "start": {"type": "integer", "description": "Gritstone: first byte in the file"}, "end": {"type": "integer", "description": "Gritstone"}}}},
    "has_more": {"type": "boolean"}, "next_page": {"type": ["string", "null"]}
  }
},
"Filter": {
  "description": "A condition on attributes, or several joined. A number compares with attributes that are numbers, a string byte by byte. ne and nin also pass files without the attribute.",
  "oneOf": [
    {"type": "object", "required": ["type", "key", "value"], "properties": {
      "type": {"enum": ["eq", "ne", "gt", "gte", "lt", "lte"]}, "key": {"type": "string", "minLength": 1, "maxLength": 128},
      "value": {"anyOf": [{"type": "string", "maxLength": 512}, {"type": "number"}, {"type": "boolean"}]}}},
    {"type": "object", "required": ["type", "key", "value"], "properties": {
      "type": {"enum": ["in", "nin"]}, "key": {"type": "string", "minLength": 1, "maxLength": 128},
      "value": {"type": "array", "maxItems": 100, "items": {"anyOf": [{"type": "string", "maxLength": 512}, {"type": "number"}, {"type": "boolean"}]}}}},
    {"type": "object", "required": ["type", "filters"], "properties": {
      "type": {"enum": ["and", "or"]}, "filters": {"type": "array", "maxItems": 64, "items": {"$ref": "#/components/schemas/Filter"}}}}
  ]
},
"SearchRequest": {
  "type": "object", "required": ["query"],
  "properties": {
    "query": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 8192},
      {"type": "array", "minItems": 1, "maxItems": 8, "items": {"type": "string", "minLength": 1, "maxLength": 8192}}]},
    "max_num_results": {"type": ["integer", "null"], "minimum": 1, "maximum": 50, "default": 10},
    "filters": {"anyOf": [{"$ref": "#/components/schemas/Filter"}, {"type": "null"}]},
    "rewrite_query": {"type": ["boolean", "null"], "description": "accepted; queries are taken as they are"},
    "ranking_options": {"type": ["object", "null"], "properties": {
      "ranker": {"type": ["string", "null"], "maxLength": 64, "description": "accepted; there is one way to rank"},
      "score_threshold": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "description": "scores of fused search reach from 0 to 1 and compare the hits of one query"},
      "hybrid_search": {"type": ["object", "null"], "description": "both 0: the collection's own weights", "properties": {
        "embedding_weight": {"type": ["number", "null"], "minimum": 0, "maximum": 1000000}, "text_weight": {"type": ["number", "null"], "minimum": 0, "maximum": 1000000}}}}},
    "mode": {"enum": ["fused", "dense", "bm25", null], "description": "Gritstone"}
  }
},
"SearchResults": {
  "type": "object", "required": ["object", "search_query", "data", "has_more", "next_page"],
  "properties": {
    "object": {"const": "vector_store.search_results.page"}, "search_query": {"type": "array", "items": {"type": "string"}},
    "data": {"type": "array", "items": {"type": "object", "required": ["file_id", "filename", "score", "attributes", "content"], "properties": {
      "file_id": {"type": "string"}, "filename": {"type": "string"}, "score": {"type": "number"},
      "attributes": {"$ref": "#/components/schemas/Attributes"},
      "content": {"type": "array", "items": {"type": "object", "required": ["type", "text"], "properties": {"type": {"const": "text"}, "text": {"type": "string"}}}},
      "heading": {"type": "string", "description": "Gritstone"}, "start": {"type": "integer", "description": "Gritstone: first byte in the file"},
      "end": {"type": "integer", "description": "Gritstone"},
      "scores": {"type": "object", "description": "Gritstone", "properties": {"bm25": {"type": ["number", "null"]}, "dense": {"type": ["number", "null"]}}},
      "ranks": {"type": "object", "description": "Gritstone: 0 is not ranked", "properties": {"bm25": {"type": "integer"}, "dense": {"type": "integer"}}}}}},
    "has_more": {"const": false}, "next_page": {"type": "null"},
    "generation": {"type": "integer", "description": "Gritstone"}, "vectors_incomplete": {"type": "boolean", "description": "Gritstone"},
    "timings": {"type": "object", "description": "Gritstone: milliseconds", "additionalProperties": {"type": "number"}}
  }
}
})json";

}  // namespace gritstone
