// Paths of /v1/vector_stores for the OpenAPI document.
#include "apps/server/openapi.h"

namespace gritstone {

const std::string_view kOpenApiStorePaths = R"json({
"/v1/vector_stores": {
  "get": {
    "operationId": "listVectorStores", "tags": ["vector stores"], "summary": "Collections as vector stores, newest first",
    "parameters": [{"$ref": "#/components/parameters/limit"}, {"$ref": "#/components/parameters/order"},
      {"$ref": "#/components/parameters/after"}, {"$ref": "#/components/parameters/before"}],
    "responses": {"200": {"description": "A page of the list", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStoreList"}}}}}
  },
  "post": {
    "operationId": "createVectorStore", "tags": ["vector stores"], "summary": "A new collection",
    "description": "Its id is made from the name: \"My notes\" becomes vs_my-notes, or vs_my-notes-2 if that is taken.",
    "requestBody": {"required": false, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateVectorStore"}}}},
    "responses": {"200": {"description": "The vector store", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStore"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}],
  "get": {
    "operationId": "getVectorStore", "tags": ["vector stores"], "summary": "One vector store, with counts of its files by status",
    "responses": {"200": {"description": "The vector store", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStore"}}}}}
  },
  "post": {
    "operationId": "modifyVectorStore", "tags": ["vector stores"], "summary": "Changes name and metadata; the id stays",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ModifyVectorStore"}}}},
    "responses": {"200": {"description": "The vector store", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStore"}}}}}
  },
  "delete": {
    "operationId": "deleteVectorStore", "tags": ["vector stores"], "summary": "Removes the collection with all its passages; uploaded files stay",
    "responses": {"200": {"description": "Done", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Deleted"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}/search": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}],
  "post": {
    "operationId": "searchVectorStore", "tags": ["vector stores"], "summary": "The passages that match a query, without an answer",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SearchRequest"}}}},
    "responses": {"200": {"description": "Best first", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SearchResults"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}/files": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}],
  "get": {
    "operationId": "listVectorStoreFiles", "tags": ["vector stores"], "summary": "Uploads and documents of the command line, newest first",
    "parameters": [{"$ref": "#/components/parameters/limit"}, {"$ref": "#/components/parameters/order"},
      {"$ref": "#/components/parameters/after"}, {"$ref": "#/components/parameters/before"}, {"$ref": "#/components/parameters/file_status"}],
    "responses": {"200": {"description": "A page of the list", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStoreFileList"}}}}}
  },
  "post": {
    "operationId": "createVectorStoreFile", "tags": ["vector stores"], "summary": "Puts an uploaded file into the vector store",
    "description": "Indexing goes on in the background: first the text is searchable by words, then its vectors follow. Ask for the file to see how far it is. A file that failed is tried again.",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateVectorStoreFile"}}}},
    "responses": {"200": {"description": "The file, in progress", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStoreFile"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}/files/{file_id}": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}, {"$ref": "#/components/parameters/file_id"}],
  "get": {
    "operationId": "getVectorStoreFile", "tags": ["vector stores"], "summary": "Status and progress of a file",
    "responses": {"200": {"description": "The file", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStoreFile"}}}}}
  },
  "post": {
    "operationId": "modifyVectorStoreFile", "tags": ["vector stores"], "summary": "Replaces the attributes that filters compare",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ModifyVectorStoreFile"}}}},
    "responses": {"200": {"description": "The file", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStoreFile"}}}}}
  },
  "delete": {
    "operationId": "deleteVectorStoreFile", "tags": ["vector stores"], "summary": "Takes the file out of the vector store; an upload itself stays",
    "responses": {"200": {"description": "Done", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Deleted"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}/files/{file_id}/content": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}, {"$ref": "#/components/parameters/file_id"}],
  "get": {
    "operationId": "getVectorStoreFileContent", "tags": ["vector stores"], "summary": "The file's text in passages, each with its place in the file",
    "responses": {"200": {"description": "All passages in order", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/FileContent"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}/file_batches": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}],
  "post": {
    "operationId": "createFileBatch", "tags": ["vector stores"], "summary": "Puts several uploaded files into the vector store",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateFileBatch"}}}},
    "responses": {"200": {"description": "The batch", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/FileBatch"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}, {"$ref": "#/components/parameters/batch_id"}],
  "get": {
    "operationId": "getFileBatch", "tags": ["vector stores"], "summary": "How far the batch is",
    "responses": {"200": {"description": "The batch", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/FileBatch"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}, {"$ref": "#/components/parameters/batch_id"}],
  "post": {
    "operationId": "cancelFileBatch", "tags": ["vector stores"], "summary": "Files of the batch that are not searchable yet are not indexed",
    "responses": {"200": {"description": "The batch", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/FileBatch"}}}}}
  }
},
"/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files": {
  "parameters": [{"$ref": "#/components/parameters/vector_store_id"}, {"$ref": "#/components/parameters/batch_id"}],
  "get": {
    "operationId": "listFilesInBatch", "tags": ["vector stores"], "summary": "The files of the batch",
    "parameters": [{"$ref": "#/components/parameters/limit"}, {"$ref": "#/components/parameters/order"},
      {"$ref": "#/components/parameters/after"}, {"$ref": "#/components/parameters/before"}, {"$ref": "#/components/parameters/file_status"}],
    "responses": {"200": {"description": "A page of the list", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VectorStoreFileList"}}}}}
  }
}
})json";

}  // namespace gritstone
