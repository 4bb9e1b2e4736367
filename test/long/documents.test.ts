import './whole.js'
import '../step/documents.test.js'
